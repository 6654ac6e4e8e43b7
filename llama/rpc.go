package llama

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// servers are those that AddRPC has taken on.
var servers struct {
	sync.Mutex
	taken []string
}

// AddRPC takes on the devices of RPC servers of llama.cpp's (ggml-rpc-server), each as HOST:PORT: models that are
// loaded from then on are offloaded to them as to GPUs, and [Devices] lists them. A server that was taken on before
// is no error.
//
// llama.cpp neither encrypts nor checks what goes to and fro, and ends the process when a server that it uses is
// lost.
func AddRPC(endpoints []string) error {
	const op = "add an RPC server"
	start()
	servers.Lock()
	defer servers.Unlock()
	for _, e := range endpoints {
		host, port, err := net.SplitHostPort(e)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || host == "" || strings.Contains(host, ":") { // llama.cpp knows IPv6 by names alone
			return failf(op, "give HOST:PORT, such as 192.168.1.5:50052", "%q is no address of a server", e)
		}
		if slices.Contains(servers.taken, e) {
			continue
		}
		takeErrors()
		name := C.CString(e)
		status := C.ivo_rpc_add(name)
		C.free(unsafe.Pointer(name))
		switch status {
		case C.IVO_RPC_NOT_BUILT:
			return failf(op, fmt.Sprintf("build it with make LLAMA=%s RPC=1", pinned.LlamaCpp.Tag), "this ivo's llama.cpp has no RPC backend")
		case C.IVO_RPC_REFUSED:
			return failf(op, "see that ggml-rpc-server of the same llama.cpp listens there", "%s: %w", e, errors.New(cmp.Or(strings.TrimSpace(takeErrors()), "it does not answer")))
		}
		servers.taken = append(servers.taken, e)
	}
	return nil
}

// Remote are the endpoints that are not on this machine's loopback.
func Remote(endpoints []string) (far []string) {
	for _, e := range endpoints {
		host, _, err := net.SplitHostPort(e)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			far = append(far, e)
		}
	}
	return far
}
