#!/bin/sh
# clocks.sh runs tests under a clock that is set anew every 300 ms, by hours forth and back: as if somebody had stepped the
# machine's, while what Go measures durations by goes on. Arguments go to go test; the default is what goes on where it was
# stopped, the server, the runner of jobs and the loop. Go's own time package is compiled with that clock, and so all that stands on it: minutes,
# with LLAMA=b11434, which brings a compiled llama.cpp, fewer.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
own=$(go env GOROOT)/src/time/time.go
cat >"$work/overlay.json" <<END
{"Replace": {"$own": "$work/time.go"}}
END
sed '/^func Now() Time {$/,/^}$/s/^\(\tsec, nsec, mono := .*\)$/\1\n\tsec += jump(mono)/' "$own" >"$work/time.go"
cat >>"$work/time.go" <<'END'

func jump(mono int64) int64 {
	hours := [...]int64{0, 3, -2, 0, -30, 30, 1}
	return 3600 * hours[mono/300e6%int64(len(hours))]
}
END
export IVO_CLOCK=jumps
on() { $go test -overlay "$work/overlay.json" -count=1 -timeout 0 "$@"; }
if [ $# -gt 0 ]; then
	on "$@"
	exit
fi
on -v -run 'TestClockJumps|TestKilledAtRandomPoints' ./cli
on ./orchestrator/serve ./orchestrator/batch ./orchestrator/loop
