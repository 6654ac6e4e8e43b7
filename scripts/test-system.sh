#!/bin/sh
# Tests ivo on the system's llama.cpp (-tags llama_system). Where pkg-config finds one it is
# used; otherwise a throw-away Debian sid with the packaged libllama is set up in
# .cache/sid (needs root, debootstrap and the network; about a gigabyte).
# Arguments go to go test; the default is every package that reaches llama.cpp.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./llama/... ./orchestrator/... ./cli/...

if pkg-config --exists llama 2>/dev/null; then
	exec go test -tags llama_system "$@"
fi

root=$PWD/.cache/sid
if [ ! -e "$root/.complete" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
		echo "test-system: install llama.cpp with its llama.pc, or run as root with debootstrap installed" >&2
		exit 1
	fi
	echo "test-system: setting up Debian sid in .cache/sid" >&2
	rm -rf "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase --include=ca-certificates,gcc,g++,pkg-config,libllama-dev,libggml-dev sid "$root" \
		"${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || { tail "$root.log" >&2; exit 1; }
	mkdir -p "$root/go/root" "$root/go/mod" "$root/go/cache" "$root/src"
	touch "$root/.complete"
fi

# The binds live in a mount namespace of their own and vanish with it.
go mod download
export ROOT="$root" SRC="$PWD" GOROOT_HOST="$(go env GOROOT)" GOMODCACHE_HOST="$(go env GOMODCACHE)"
exec unshare --mount sh -eu -c '
	mount --bind "$GOROOT_HOST" "$ROOT/go/root"
	mount --bind "$GOMODCACHE_HOST" "$ROOT/go/mod"
	mount --bind "$SRC" "$ROOT/src"
	mount -t proc proc "$ROOT/proc"
	mount --bind /dev "$ROOT/dev"
	exec chroot "$ROOT" env -i HOME=/root PATH=/go/root/bin:/usr/bin:/bin GOMODCACHE=/go/mod GOCACHE=/go/cache GOFLAGS=-buildvcs=false \
		GOPROXY=off CGO_CFLAGS="${CGO_CFLAGS:--O3}" CGO_CXXFLAGS="${CGO_CXXFLAGS:--O3}" \
		sh -eu -c "cd /src && exec go test -tags llama_system \"\$@\"" sh "$@"
' sh "$@"
