#!/bin/sh
# e2e.sh serves the lab's model with a value function that it learns in seconds, and lets OpenAI's official clients
# ask it: for Go, and for Python and Node where these are installed (E2E_PYTHON names a Python that has openai,
# E2E_NODE a folder that has openai in its node_modules). The page is looked at where there is a chromium.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
server=
for part in train test; do head -40 testdata/lab/summarize-$part.jsonl >"$work/$part.jsonl"; done
bin/ivo iterate -m testdata/lab/summarize-s.gguf --reward gold --prompts "$work/train.jsonl" --eval-prompts "$work/test.jsonl" \
	--rounds 1 --samples 2 -n 32 --out "$work/runs/lab" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
bin/ivo serve -m testdata/lab/summarize-s.gguf -a lab --value-head "$work/runs/lab/iter-01/head.gguf" --reward sentiment --method sample \
	--runs "$work/runs" --prompts testdata/lab/summarize-test.jsonl -c 1024 --port 0 >"$work/out" 2>"$work/log" &
server=$!
while [ ! -s "$work/out" ]; do
	kill -0 $server || { cat "$work/log"; exit 1; }
	sleep 0.2
done
IVO_URL=$(sed -n 's/.* at //p;q' "$work/out")
IVO_MODEL=lab
export IVO_URL IVO_MODEL

(cd e2e/go && go test -count=1 ./...)
(cd e2e/page && go test -count=1 ./...)
python=${E2E_PYTHON:-python3}
if "$python" -c 'import openai' 2>/dev/null; then
	"$python" e2e/client.py "$IVO_URL" "$IVO_MODEL"
else
	echo "openai for Python is not installed: skipped (pip install openai, or E2E_PYTHON=PYTHON)"
fi
node=${E2E_NODE:-$root/e2e}
if [ -d "$node/node_modules/openai" ]; then
	cp e2e/client.mjs "$node/.ivo-client.mjs"
	(cd "$node" && node .ivo-client.mjs "$IVO_URL" "$IVO_MODEL")
	rm -f "$node/.ivo-client.mjs"
else
	echo "openai for Node is not installed: skipped (npm install --prefix e2e openai, or E2E_NODE=FOLDER)"
fi
