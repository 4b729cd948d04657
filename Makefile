# Verbs that verify: each fails when something is not as it should be, and
# changes no file of the tree (generate aside, which says what it changed).
# Each installs what it needs and says so (Debian, as root).
#
#   make lab        the main job: a mirror port, a bank, an attack, a real HAProxy
#                   (LB=nginx: nginx with Lua, LB=envoy: Envoy)
#   make test       all tests
#   make build      the binary ./.bin/offpath
#   make bench      replay beside httpry, tcpflow and gopacket; Go benchmarks
#   make bench-detect  what the engine finds of labelled attacks, SEEDS of each
#                   of the SCENARIOS (all), the worst counted; or DIR, labelled captures
#   make bench-mitigate  a million verdicts at a real HAProxy, and the time from a
#                   decision to the first refusal
#   make fuzz       every fuzz target: FUZZTIME for those of the packet decoder,
#                   TCP and HTTP/1, FUZZTIME_REST for each of the others
#   make lint fmt generate
#
# make profile alone writes: the profile that make build gives to the compiler.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

setup := ./testdata/setup/packages.sh
bin   := .bin

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
commit  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
ldflags := -X offpath/cmd/offpath/internal/cli.version=$(version) -X offpath/cmd/offpath/internal/cli.commit=$(commit)

lab_packages  := hydra iproute2 ethtool procps
lb_haproxy    := haproxy
lb_nginx      := nginx libnginx-mod-http-lua
lb_envoy      := python3 python3-venv
test_packages := $(lab_packages) $(lb_haproxy) $(lb_nginx) gcc libc6-dev default-jre-headless maven curl jq openssl python3 python3-venv nftables tcl crowdsec-custom-bouncer crowdsec-firewall-bouncer gobgpd bird2 systemd
bench_packages := httpry tcpflow
generate_packages := clang-14 llvm-14 libbpf-dev linux-libc-dev protobuf-compiler

# make lab MINUTES=10 TAP=back LB=nginx
MINUTES  ?=
TAP      ?= front
LB       ?= haproxy
SILENT   ?=
# make bench-detect SEEDS=2 SCENARIOS=B1,N2
SEEDS     ?= 10
SCENARIOS ?=
DIR       ?=
FUZZTIME ?= 60s
FUZZTIME_REST ?= 5s
BENCHTIME ?= 1s
fuzz_long := FuzzDecode FuzzStreams FuzzSegmentation FuzzRequest FuzzResponse

# The profile tells the compiler what replay spends its time on: 5.5 % fewer instructions for API calls.
# Any profile gives a right binary, an old one a slower one.
profile := cmd/offpath/replay.pgo

.PHONY: build
build:
	CGO_ENABLED=0 go build -trimpath -pgo=$(profile) -ldflags '$(ldflags)' -o $(bin)/offpath ./cmd/offpath

.PHONY: lab
lab: build
	@$(setup) $(filter envoy,$(LB)) $(lab_packages) $(lb_$(LB))
	@CGO_ENABLED=0 go build -o $(bin)/lab ./cmd/lab
	@$(bin)/lab --offpath $(bin)/offpath --lb $(LB) --tap $(TAP) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SILENT),--silent)

# The packages that measure themselves against the clock of a live kernel run
# after the others, one at a time, so that nothing competes with them. What the
# race detector's cgo forbids, dropping privileges, is tested without it, and so
# is what would take minutes with it: the templates of real APIs, ten million
# addresses.
live := offpath/cmd/lab offpath/capture/afpacket offpath/mitigate/haproxy offpath/mitigate/nginx

.PHONY: test
test:
	@$(setup) kafka moto envoy $(test_packages)
	go test -race -count=1 -timeout 20m $(filter-out $(live),$(shell go list ./...))
	go test -race -count=1 -timeout 20m -p 1 $(live)
	CGO_ENABLED=0 go test -count=1 -run Privileges ./capture/afpacket ./cmd/offpath
	CGO_ENABLED=0 go test -count=1 -run 'RealAPIs|TenMillion' -v ./detect/endpoint ./detect/engine

.PHONY: lint
lint:
	CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 go tool staticcheck ./...
	go mod tidy -diff
	go mod verify >/dev/null

.PHONY: fmt
fmt:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not formatted by gofmt:"; echo "$$bad"; exit 1; fi

# Fails if what is committed is not what the sources give.
.PHONY: generate
generate:
	@$(setup) $(generate_packages)
	go generate ./...
	@git diff --exit-code --stat -- '*.o' '*.go' || { echo 'generated files differ from the committed ones: commit them'; exit 1; }

.PHONY: fuzz
fuzz:
	@go list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r package dir; do \
		{ grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //' | while read -r target; do \
			case " $(fuzz_long) " in *" $$target "*) time=$(FUZZTIME) ;; *) time=$(FUZZTIME_REST) ;; esac; \
			./testdata/setup/fuzz.sh "$$package" "$$target" "$$time" || exit 1; \
		done || exit 1; \
	done

.PHONY: bench
bench: build
	@$(setup) $(bench_packages)
	@CGO_ENABLED=0 go build -o $(bin)/lab ./cmd/lab
	@$(bin)/lab bench --offpath $(bin)/offpath
	CGO_ENABLED=0 go test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: bench-detect
bench-detect:
	@CGO_ENABLED=0 go build -pgo=$(profile) -o $(bin)/lab ./cmd/lab
	@$(bin)/lab detect --rivals --seeds $(SEEDS) --scenario '$(SCENARIOS)' $(DIR)

.PHONY: bench-mitigate
bench-mitigate:
	@$(setup) envoy $(lb_envoy) $(lb_haproxy) $(lb_nginx)
	CI=true CGO_ENABLED=0 go test -run '^$$' -bench 'Million|DecisionToRefusal' -benchtime 1x -timeout 30m ./mitigate/...

.PHONY: profile
profile:
	CGO_ENABLED=0 go test -run '^$$' -bench 'Replay/.*/(detection|JSON)' -benchtime 8s -cpuprofile $(profile) -o /dev/null ./cmd/lab/internal/bench

.PHONY: clean
clean:
	rm -rf $(bin)
