#!/bin/sh
# fuzz.sh fuzzes every reader of a file or a request, one after the other, for FUZZTIME each (10m), on FUZZPROCS
# processors (2); Go would shorten what it keeps for a minute each. ONLY=PATTERN takes those whose package and name match it. It prints a line for each, and ends with
# an error if one has found something: the input lies in the package's testdata/fuzz then.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for target in $(git ls-files -co --exclude-standard '*_test.go' | xargs grep -o '^func Fuzz[A-Za-z0-9]*' | sed 's|/[^/]*:func |:|' | grep -E "${ONLY:-.}"); do
	package=./${target%%:*} name=${target##*:}
	if ${GO:-go} test "$package" -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10m}" -fuzzminimizetime 1s -parallel "${FUZZPROCS:-2}" >"$log" 2>&1; then
		sed -n '/execs:/h;${x;s|^fuzz: elapsed: \([^,]*\), execs: \([0-9]*\).*new interesting: \([0-9]*\) (total: \([0-9]*\)).*|'"$package $name"': \2 inputs in \1, \3 new paths, no find|;p;}' "$log"
	else
		failed=1
		echo "$package $name: found:"
		sed 's/^/	/' "$log"
	fi
done
exit $failed
