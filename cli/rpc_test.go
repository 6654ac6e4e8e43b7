//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rpcServer starts ivo rpc-server at an address, of a free port if that is "". It skips the test where llama.cpp has no
// RPC backend.
func rpcServer(t *testing.T, at string) (address string, kill func()) {
	t.Helper()
	if at == "" {
		at = "127.0.0.1:0"
	}
	cmd := exec.Command("ivo", "rpc-server", "--listen", at, "-t", "1")
	pipe, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	log := bufio.NewReader(pipe)
	line, err := log.ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "--rpc ")
	if !ok {
		t.Fatalf("%q: %v", line, err)
	}
	why := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(log)
		why <- string(text)
	}()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address, kill
		}
		select {
		case text := <-why: // it has ended
			if strings.Contains(text, "no RPC backend") {
				t.Skip(text)
			}
			t.Fatal(text)
		default:
		}
	}
}

// A model that is spread over a server answers and learns as it does here; where the server is lost the command ends with
// what to do, and goes on when it is there again.
func TestRPC(t *testing.T) {
	f := lab(t)
	at, kill := rpcServer(t, "")
	answer := func(more ...string) string {
		cmd := exec.Command("ivo", append([]string{"generate", "-m", f.model, "-p", "i found a red lamp.\nTL;DR:", "-n", "24", "--temp", "0"}, more...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		return string(out)
	}
	if here, there := answer(), answer("--rpc", at); here != there || here == "" {
		t.Errorf("%q here, %q there", here, there)
	}

	dir := t.TempDir()
	whole, stopped := filepath.Join(dir, "whole"), filepath.Join(dir, "stopped")
	if code, log := exitOf(t, f.iterate(whole, "--rpc", at)); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	sameRun(t, whole, f.run)
	lost := func(args []string, ready func(stdout, stderr *bufio.Reader)) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		log := bufio.NewReader(stderr)
		out := bufio.NewReader(stdout)
		ready(out, log)
		kill()
		go io.Copy(io.Discard, out)
		text, _ := io.ReadAll(log)
		cmd.Wait()
		text = bytes.TrimSpace(text)
		last := string(text[bytes.LastIndexByte(text, '\n')+1:])
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.HasPrefix(last, "ivo: ") || !strings.Contains(last, at) || !strings.HasSuffix(last, "run the same command again)") || bytes.Contains(text, []byte("goroutine ")) {
			t.Errorf("lost: exit code %d: %s", code, text)
		}
	}
	lost([]string{"ivo", "generate", "-m", endless(t, f.model), "-p", "i found", "-c", "24000", "--temp", "0", "--rpc", at}, func(stdout, _ *bufio.Reader) {
		if _, err := stdout.ReadByte(); err != nil {
			t.Fatal(err)
		}
	})
	for _, line := range []string{"round 1: collect", "round 2: collect", "evaluate greedy"} {
		at, kill = rpcServer(t, at)
		lost(f.iterate(stopped, "--rpc", at, "-v"), func(_, stderr *bufio.Reader) {
			for text := ""; !strings.Contains(text, line); {
				var err error
				if text, err = stderr.ReadString('\n'); err != nil {
					t.Fatalf("it never came to %q: %v", line, err)
				}
			}
		})
	}
	at, _ = rpcServer(t, at)
	if code, log := exitOf(t, f.iterate(stopped, "--rpc", at)); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	sameRun(t, stopped, whole)
}

// One who listens and is no RPC server is told from one.
func TestNoRPCServer(t *testing.T) {
	f := lab(t)
	rpcServer(t, "") // or skip
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}
	}()
	code, log := exitOf(t, []string{"ivo", "generate", "-m", f.model, "-p", "a", "--rpc", l.Addr().String()})
	if code != 1 || !strings.Contains(log, "see that an RPC server of the same llama.cpp listens there") {
		t.Errorf("exit code %d: %s", code, log)
	}
}
