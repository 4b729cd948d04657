#!/usr/bin/env bash
# fuzz.sh PACKAGE TARGET TIME: one fuzz target for a time. go test -fuzz takes one
# of one package at a time. Shrinking an input that is merely interesting is kept
# short: it can take longer than the search.
#
# Up to Go 1.26 the coordinator may report the end of its own time as a failure
# (golang.org/issue/75804): "context deadline exceeded", with no input written.
# That is no finding.
set -euo pipefail

echo "fuzz $1 $2 ($3)"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if go test -run '^$' -fuzz "^$2\$" -fuzztime "$3" -fuzzminimizetime 20x "$1" </dev/null >"$out" 2>&1; then
	tail -n 1 "$out"
	exit 0
fi
if grep -A1 "^--- FAIL: $2 " "$out" | grep -qx '    context deadline exceeded' && ! grep -q 'Failing input written' "$out"; then
	echo "no finding: the end of the time was reported as a failure"
	exit 0
fi
cat "$out"
exit 1
