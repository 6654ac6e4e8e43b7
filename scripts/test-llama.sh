#!/bin/sh
# Tests ivo on the llama.cpp that scripts/llamacpp builds, and that against what it publishes: the
# tokens of its vocabularies' texts, and Jinja2's renderings of its chat templates, in which there
# is to be no difference. Arguments go to go test; the default is all that reaches llama.cpp.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./llama/... ./orchestrator/...

on="go run ./scripts/llamacpp${LLAMA:+ -release $LLAMA}${LLAMA_SOURCE:+ -from $LLAMA_SOURCE}"
$on go test -count 1 -v -run 'TestPublished|TestABIOfPinned|TestKnownArchitectures' ./llama ./llama/jinja
$on go test -timeout 60m "$@"
