package llama

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strconv"
	"unsafe"
)

// RPCServer says how [ServeRPC] serves.
type RPCServer struct {
	Listen  string               // IPv4 address and port; port 0 for a free one
	Devices []string             // names of [Devices]; nil for all GPUs, or the CPU where there are none
	Threads int                  // for the CPU; 0 for all there are
	Begin   func(address string) // is told the address before the first program is waited for; may be nil
}

// ServeRPC has one program at a time compute on devices of this machine (ggml_backend_rpc_start_server), until the context ends
// or it cannot go on. It speaks with llama.cpp's of the same release alone. Whoever reaches it may have it do what they like.
func ServeRPC(ctx context.Context, s RPCServer) error {
	const op = "serve RPC"
	start()
	devices := Devices()
	var index []C.int32_t
	for i, d := range devices {
		if slices.Contains(s.Devices, d.Name) || s.Devices == nil && (d.Type == DeviceGPU || d.Type == DeviceIntegratedGPU) {
			index = append(index, C.int32_t(i))
		}
	}
	if s.Devices == nil && index == nil {
		if i := slices.IndexFunc(devices, func(d Device) bool { return d.Type == DeviceCPU }); i >= 0 {
			index = append(index, C.int32_t(i))
		}
	}
	if len(index) == 0 || s.Devices != nil && len(index) < len(s.Devices) {
		var names []string
		for _, d := range devices {
			names = append(names, d.Name)
		}
		return failf(op, "leave {device} out for all", "devices %q, of which there are %q", s.Devices, names)
	}
	host, err := hostOf(s.Listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.To4() == nil {
		return failf(op, "give an IPv4 address of this machine and a port, such as 127.0.0.1:50052", "%q is no address to listen at", s.Listen)
	}
	l, err := net.Listen("tcp4", s.Listen) // says more than llama.cpp does
	if err != nil {
		return failf(op, "give an address of this machine and a free port", "%w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	threads := s.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	if s.Begin != nil {
		s.Begin(address)
	}
	over := make(chan error, 1)
	go func() { // llama.cpp has no way to end it
		name := C.CString(address)
		defer C.free(unsafe.Pointer(name))
		if C.ivo_rpc_serve(name, C.int32_t(threads), &index[0], C.int32_t(len(index))) == C.IVO_RPC_NOT_BUILT {
			over <- errNoRPC(op)
			return
		}
		over <- failf(op, "run it again", "llama.cpp's server gave up: %s", takeErrors())
	}()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return nil
	}
}
