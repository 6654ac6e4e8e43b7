#!/bin/sh
# The whole of ivo in one run: collect trajectories from the lab model, learn a value
# function from their states, collect again with the policy it guides, learn again, and
# compare on prompts that were not trained on. Run it with make demo.
set -eu
cd "$(dirname "$0")/.."

out=runs/demo
lab=testdata/lab

# A finished demo starts anew; one that was stopped goes on.
if [ -e "$out/report.html" ]; then
    rm -rf "$out"
fi

bin/ivo iterate -m $lab/summarize-s.gguf --reward gold \
    --prompts $lab/summarize-train.jsonl --eval-prompts $lab/summarize-test.jsonl \
    --rounds 2 --samples 4 --round-prompts 600 -n 64 --parallel 16 --out "$out"
