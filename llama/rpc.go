package llama

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// servers are those that AddRPC has taken on.
var servers struct {
	sync.Mutex
	taken []string
	lost  func(error) // see OnLost
}

// rpcPatience is how long a server may take until it answers for the first time: llama.cpp itself waits for ever.
var rpcPatience = 10 * time.Second

// AddRPC takes on the devices of RPC servers of llama.cpp's ([ServeRPC], or its own ggml-rpc-server), each as
// HOST:PORT: models that are loaded from then on are offloaded to them as to GPUs, and [Devices] lists them. A server
// that was taken on before is no error.
//
// llama.cpp neither encrypts nor checks what goes to and fro, and cannot go on when a server that it uses is lost: see
// [OnLost].
func AddRPC(ctx context.Context, endpoints []string) error {
	const op = "add an RPC server"
	start()
	servers.Lock()
	defer servers.Unlock()
	for _, e := range endpoints {
		host, err := hostOf(e)
		if err != nil || host == "" || strings.Contains(host, ":") { // llama.cpp knows IPv6 by names alone
			return failf(op, "give HOST:PORT, such as 192.168.1.5:50052", "%q is no address of a server", e)
		}
		if slices.Contains(servers.taken, e) {
			continue
		}
		type answer struct {
			status C.int32_t
			said   string
		}
		answered := make(chan answer, 1)
		go func() { // nothing ends it where nobody answers
			takeErrors()
			name := C.CString(e)
			defer C.free(unsafe.Pointer(name))
			status := C.ivo_rpc_add(name)
			answered <- answer{status, abortedAt.ReplaceAllString(strings.TrimSpace(takeErrors()), "")}
		}()
		select {
		case a := <-answered:
			switch a.status {
			case C.IVO_RPC_NOT_BUILT:
				return errNoRPC(op)
			case C.IVO_RPC_REFUSED:
				return failf(op, "see that an RPC server of the same llama.cpp listens there", "%s: %w", e, errors.New(cmp.Or(a.said, "it does not answer")))
			}
			servers.taken = append(servers.taken, e)
		case <-time.After(rpcPatience):
			return failf(op, "see that an RPC server listens there, and that nobody else uses it: it serves one program at a time", "%s has not answered for %v", e, rpcPatience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// abortedAt is where in llama.cpp something is said.
var abortedAt = regexp.MustCompile(`llama\.cpp gave up: \S+:\d+: `)

// hostOf is the host of HOST:PORT.
func hostOf(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return host, err
}

func errNoRPC(op string) error {
	return failf(op, fmt.Sprintf("build it with make LLAMA=%s RPC=1", pinned.LlamaCpp.Tag), "this ivo's llama.cpp has no RPC backend")
}

// OnLost names what is called when a server that a model uses is lost. llama.cpp would end the process without a word;
// f is to say what is given to it and end the process, for whoever waits for that server waits for ever.
func OnLost(f func(error)) {
	servers.Lock()
	defer servers.Unlock()
	servers.lost = f
}

// losing is held by the thread that says that a server is lost: others that lose theirs wait for the end.
var losing sync.Mutex

//export ivoLost
func ivoLost() {
	losing.Lock()
	defer losing.Unlock()
	servers.Lock()
	f, taken := servers.lost, strings.Join(servers.taken, ", ")
	servers.Unlock()
	if f != nil {
		f(failf("compute on "+taken, "see that the servers of {rpc} run and can be reached, and run the same command again", "an RPC server was lost, and llama.cpp cannot go on without it"))
	}
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
