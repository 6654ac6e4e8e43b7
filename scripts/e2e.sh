#!/bin/sh
# e2e.sh serves the lab's model and lets OpenAI's official clients ask it: for Go, and for Python and Node where
# these are installed (E2E_PYTHON names a Python that has openai, E2E_NODE a folder that has openai in its
# node_modules). The page is looked at where there is a chromium.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
bin/ivo serve -m testdata/lab/summarize-s.gguf -a lab --reward sentiment --method sample -c 1024 --port 0 >"$work/out" 2>"$work/log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
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
