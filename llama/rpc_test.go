package llama_test

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

// What is no address is refused, and so is every server where llama.cpp has no RPC backend, or nobody listens.
func TestRPCRefused(t *testing.T) {
	for _, e := range []string{"", "host", ":50052", "host:port", "host:99999", "[::1]:50052"} {
		if err := llama.AddRPC(t.Context(), []string{e}); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("%q: %v", e, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = llama.AddRPC(t.Context(), []string{l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "RPC=1)") && !strings.Contains(err.Error(), "listens there") {
		t.Errorf("nobody listens: %v", err)
	}
	for listen, word := range map[string]string{"nowhere": "IPv4", "[::1]:0": "IPv4", "localhost:0": "IPv4", l.Addr().String() + "0": "IPv4", "192.0.2.1:50052": "free port"} {
		if err := llama.ServeRPC(t.Context(), llama.RPCServer{Listen: listen}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("serve at %q: %v", listen, err)
		}
	}
	if err := llama.ServeRPC(t.Context(), llama.RPCServer{Listen: "127.0.0.1:0", Devices: []string{"XPU7"}}); err == nil || !strings.Contains(err.Error(), "XPU7") {
		t.Errorf("a device that is none: %v", err)
	}
	far := []string{"192.168.1.5:1", "example.org:1", "127.0.0.2:1", "localhost:1", "nonsense"}
	if diff := cmp.Diff([]string{far[0], far[1], far[4]}, llama.Remote(far)); diff != "" {
		t.Error(diff)
	}
}

// One who listens and says nothing, as a server that serves somebody else, is not waited for for ever, nor when that is
// no longer wanted.
func TestRPCSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := llama.AddRPC(ctx, []string{l.Addr().String()}); !errors.Is(err, context.Canceled) {
		notBuilt(t, err)
		t.Errorf("cancelled: %v", err)
	}
	llama.RPCPatience(t, time.Millisecond)
	if err := llama.AddRPC(t.Context(), []string{l.Addr().String()}); err == nil || !strings.Contains(err.Error(), "one program at a time") {
		notBuilt(t, err)
		t.Errorf("silent: %v", err)
	}
}

// notBuilt skips a test where llama.cpp has no RPC backend.
func notBuilt(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "no RPC backend") {
		t.Skip(err)
	}
}

// rpcServer is the address of a server: of this process, or of llama.cpp's own, which IVO_RPC_SERVER names.
func rpcServer(t *testing.T) string {
	t.Helper()
	address := make(chan string, 1)
	if program := os.Getenv("IVO_RPC_SERVER"); program != "" {
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
		address <- "127.0.0.1:" + port
	} else {
		failed := make(chan error, 1)
		go func() {
			failed <- llama.ServeRPC(t.Context(), llama.RPCServer{Listen: "127.0.0.1:0", Threads: 1, Begin: func(a string) { address <- a }})
		}()
		select {
		case err := <-failed:
			notBuilt(t, err)
			t.Fatal(err)
		case a := <-address:
			address <- a
		}
	}
	at := <-address
	for {
		if c, err := net.Dial("tcp", at); err == nil {
			c.Close()
			return at
		}
		if t.Context().Err() != nil {
			t.Fatal("nobody listens")
		}
	}
}

// A model that is offloaded to a server gives what it gives here. What takes a server on is a process of its own: other
// tests' models would go there too.
func TestRPC(t *testing.T) {
	const inside = "IVO_TEST_RPC"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestRPC$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		text, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			t.Fatalf("%v: %s", err, text)
		case strings.Contains(string(text), "--- SKIP"):
			t.Skipf("%s", text)
		}
		return
	}
	notBuilt(t, llama.AddRPC(t.Context(), []string{"localhost:1"}))
	endpoint := rpcServer(t)
	if err := llama.AddRPC(t.Context(), []string{endpoint, endpoint}); err != nil {
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
