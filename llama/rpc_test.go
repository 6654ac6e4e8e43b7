package llama_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

// What is no address is refused, and so is every server where llama.cpp has no RPC backend, or nobody listens.
func TestRPCRefused(t *testing.T) {
	for _, e := range []string{"", "host", ":50052", "host:port", "host:99999", "[::1]:50052"} {
		if err := llama.AddRPC([]string{e}); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("%q: %v", e, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = llama.AddRPC([]string{l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "RPC=1)") && !strings.Contains(err.Error(), "ggml-rpc-server") {
		t.Errorf("nobody listens: %v", err)
	}
	far := []string{"192.168.1.5:1", "example.org:1", "127.0.0.2:1", "localhost:1", "nonsense"}
	if diff := cmp.Diff([]string{far[0], far[1], far[4]}, llama.Remote(far)); diff != "" {
		t.Error(diff)
	}
}

// A model that is offloaded to a server gives what it gives here. IVO_RPC_SERVER names llama.cpp's ggml-rpc-server.
func TestRPC(t *testing.T) {
	program := os.Getenv("IVO_RPC_SERVER")
	if program == "" {
		t.Skip("IVO_RPC_SERVER names no server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := exec.Command(program, "--host", "127.0.0.1", "--port", port, "-t", "1")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	endpoint := "127.0.0.1:" + port
	for err = fmt.Errorf("not tried"); err != nil; {
		var c net.Conn
		if c, err = net.Dial("tcp", endpoint); err == nil {
			c.Close()
		}
	}
	if err := llama.AddRPC([]string{endpoint, endpoint}); err != nil {
		t.Fatal(err)
	}
	devices := llama.Devices()
	at := slices.IndexFunc(devices, func(d llama.Device) bool { return d.Description == endpoint })
	if at < 0 {
		t.Fatalf("no device of %s among %+v", endpoint, devices)
	}
	var got [2][]float32
	for i, layers := range []int{0, -1} {
		m, err := llama.Load("../testdata/lab/summarize-s.gguf", llama.ModelParams{GPULayers: layers})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		c := newContext(t, m, llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
		tokens, err := m.Tokenize("i found a red lamp.\nTL;DR:", true, false)
		if err != nil {
			t.Fatal(err)
		}
		for k, token := range tokens {
			if _, err := c.Add(token, int32(k), 0, k == len(tokens)-1, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		row, err := c.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		got[i] = slices.Clone(row.Logits)
	}
	for y := range got[0] {
		if d := float64(got[0][y] - got[1][y]); math.Abs(d) > 1e-3 {
			t.Fatalf("logit %d is %g here and %g there", y, got[0][y], got[1][y])
		}
	}
}
