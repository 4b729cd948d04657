#!/bin/sh
# Installs what a make target needs and this machine lacks: Debian packages,
# and with "kafka" the archives of a Kafka broker for tests. What is there is
# left alone, so that a second run needs no network.
#   packages.sh [kafka] PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive

kafka=
if [ "${1:-}" = kafka ]; then kafka=yes; shift; fi

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
			exit 0
		fi
		mv "$libs.part" "$libs"
	fi
fi
