package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// gate is a decoder that answers when it is let.
type gate struct {
	begun chan context.Context
	open  chan struct{}
}

func newGate() *gate {
	return &gate{begun: make(chan context.Context, 1000), open: make(chan struct{})}
}

func (g *gate) answer(ctx context.Context, _ *batch.Policy, _ batch.Task, emit func([]byte)) (decode.Response, error) {
	emit([]byte("so"))
	g.begun <- ctx
	select {
	case <-g.open:
		return decode.Response{Finish: decode.FinishEOG}, nil
	case <-ctx.Done():
		return decode.Response{}, context.Cause(ctx)
	}
}

func (g *gate) Close() error { return nil }

// gated is a server whose answers wait.
func gated(t *testing.T, change func(*Options)) (*gate, *Server, string) {
	t.Helper()
	o := options(t)
	if change != nil {
		change(&o)
	}
	s, url := start(t, o)
	if err := s.decoder.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGate()
	s.decoder = g
	return g, s, url
}

const hello = `{"messages": [{"role": "user", "content": "hello"}], "stream": true}`

// A full queue is told with the time to come back; a client that leaves frees its place and ends its decoding.
func TestQueue(t *testing.T) {
	g, s, url := gated(t, func(o *Options) { o.MaxQueue = 2 })
	ctx, leave := context.WithCancel(t.Context())
	for range 2 {
		go func() {
			req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(hello))
			if err != nil {
				return
			}
			if res, err := http.DefaultClient.Do(req); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}()
	}
	first, second := <-g.begun, <-g.begun
	status, header, text := ask(t, url+"/v1/chat/completions", hello)
	if status != 429 || header.Get("Retry-After") == "" || at(parse(t, text), "error", "type") != "rate_limit_error" {
		t.Errorf("%d %v %s", status, header, text)
	}
	if status, _, text := ask(t, url+"/v1/embeddings", `{"input": "a"}`); status != 429 {
		t.Errorf("%d %s", status, text)
	}
	leave()
	<-first.Done()
	<-second.Done()
	for s.pending.Load() > 0 {
		runtime.Gosched()
	}
	close(g.open)
	if status, _, text := ask(t, url+"/v1/chat/completions", hello); status != 200 || !strings.Contains(text, "[DONE]") {
		t.Errorf("%d %s", status, text)
	}
}

// A server that ends lets what is under way end, and takes nothing more; what does not end in time is cancelled.
func TestDrain(t *testing.T) {
	for _, patient := range []bool{true, false} {
		g, s, _ := gated(t, nil)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		drain := time.Millisecond
		if patient {
			drain = time.Hour
		}
		go func() { ended <- s.Serve(ctx, drain, l) }()
		got := make(chan string, 1)
		go func() {
			res, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(hello))
			if err != nil {
				got <- err.Error()
				return
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			got <- string(text)
		}()
		answering := <-g.begun
		stop()
		if patient {
			for !s.draining.Load() {
				runtime.Gosched()
			}
			if _, err := http.Get(url + "/health"); err == nil {
				t.Error("a server that ends takes a connection")
			}
			close(g.open)
			if text := <-got; !strings.Contains(text, "[DONE]") {
				t.Errorf("the answer under way: %s", text)
			}
		} else {
			<-answering.Done()
			if text := <-got; strings.Contains(text, "[DONE]") {
				t.Errorf("a cancelled answer ends as if it were whole: %s", text)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Who shows no key is let in nowhere but where nothing is told.
func TestKeys(t *testing.T) {
	var log bytes.Buffer
	o := options(t)
	o.Keys, o.Log = []string{"first-key", "second-key"}, slog.New(slog.NewTextHandler(&log, nil))
	_, url := start(t, o)
	for _, c := range []struct {
		header []string
		want   int
	}{
		{nil, 401}, {[]string{"Authorization", "Bearer wrong"}, 401}, {[]string{"Authorization", "first-key"}, 401}, {[]string{"Authorization", "Bearer "}, 401},
		{[]string{"Authorization", "Bearer first-ke"}, 401}, {[]string{"Authorization", "Bearer first-keyx"}, 401}, {[]string{"Authorization", "Bearer " + strings.Repeat("x", 30000)}, 401},
		{[]string{"Authorization", "Bearer first-key"}, 200}, {[]string{"Authorization", "Bearer second-key"}, 200}, {[]string{"X-Api-Key", "second-key"}, 200},
	} {
		status, header, text := ask(t, url+"/v1/models", "", c.header...)
		if status != c.want || status == 401 && (at(parse(t, text), "error", "code") != "invalid_api_key" || header.Get("WWW-Authenticate") == "") {
			t.Errorf("%.40v: %d %s, want %d", c.header, status, text, c.want)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize", "/apply-template"} {
		if status, _, _ := ask(t, url+path, "{}"); status != 401 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/health", "/openapi.json"} {
		if status, _, _ := ask(t, url+path, ""); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	if strings.Contains(log.String(), "-key") {
		t.Error("a key is in the log")
	}
}

// Pages of other origins, and names that others have made point here, are refused; named ones are let in.
func TestOrigins(t *testing.T) {
	o := options(t)
	o.Origins, o.Hosts = []string{"https://chat.example.com"}, []string{"box.lan"}
	_, url := start(t, o)
	for _, c := range []struct {
		method, origin, host string
		want                 int
		allowed              bool
	}{
		{"GET", "", "", 200, false}, {"GET", "https://evil.example.com", "", 403, false}, {"POST", "null", "", 403, false}, {"GET", url, "", 200, false},
		{"GET", "https://chat.example.com", "", 200, true}, {"OPTIONS", "https://chat.example.com", "", 204, true}, {"OPTIONS", "https://evil.example.com", "", 403, false},
		{"GET", "", "evil.example.com", 403, false}, {"GET", "", "localhost:80", 200, false}, {"GET", "", "[::1]:80", 200, false}, {"GET", "", "box.lan:8080", 200, false},
	} {
		req, err := http.NewRequest(c.method, url+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != c.want || (got == c.origin && got != "") != c.allowed {
			t.Errorf("%s from %q to %q: %d, allowed %q", c.method, c.origin, c.host, res.StatusCode, got)
		}
	}
}

// What is too large is refused before it is read, and what does not come is given up.
func TestBodies(t *testing.T) {
	o := options(t)
	o.MaxBody, o.BodyTime = 1<<20, 50*time.Millisecond
	s, url := start(t, o)
	address := strings.TrimPrefix(url, "http://")
	say := func(text string) (int, string) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		reply, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(reply)
	}
	const post = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
	if status, text := say(post + "Content-Length: 104857600\r\n\r\n"); status != 413 || at(parse(t, text), "error", "type") != "invalid_request_error" {
		t.Errorf("100 MB that are announced: %d %s", status, text)
	}
	if status, text := say(post + "Content-Length: 100\r\n\r\n{\"mess"); status != 408 {
		t.Errorf("a body that does not come: %d %s", status, text)
	}
	if status, text := say(post + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n"); status != 408 {
		t.Errorf("chunks that do not come: %d %s", status, text)
	}
	if status, _ := say(post + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"); status != 431 {
		t.Errorf("a header of 2 MB: %d", status)
	}
	// More than is allowed, in chunks, so that nobody announces it.
	req, err := http.NewRequest("POST", url+"/v1/chat/completions", io.LimitReader(endlessly{}, 100<<20))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil { // the connection may be closed before all is sent
		if res.Body.Close(); res.StatusCode != 413 && res.StatusCode != 408 {
			t.Errorf("100 MB in chunks: %d", res.StatusCode)
		}
	}
	// Bodies share so much memory.
	if !s.bodies.TryAcquire(64 << 20) {
		t.Fatal("memory of bodies is not given back")
	}
	status, header, text := ask(t, url+"/v1/chat/completions", hello)
	if status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("bodies beyond the memory for them: %d %s", status, text)
	}
	s.bodies.Release(64 << 20)
	if _, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a plain server speaks TLS")
	}
}

type endlessly struct{}

func (endlessly) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// Connections beyond the room for them wait, and get in when others leave.
func TestConnections(t *testing.T) {
	o := options(t)
	o.MaxConns = 2
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, time.Second, l) }()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	health := func(c net.Conn) error {
		if _, err := fmt.Fprint(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	first, second := dial(), dial()
	for _, c := range []net.Conn{first, second} {
		if err := health(c); err != nil {
			t.Fatal(err)
		}
	}
	third := dial()
	said := make(chan error, 1)
	go func() { said <- health(third) }()
	first.Close()
	if err := <-said; err != nil {
		t.Error(err)
	}
	second.Close()
	third.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Prompts are logged where that is asked for, and nowhere else.
func TestLog(t *testing.T) {
	for _, asked := range []bool{false, true} {
		var log bytes.Buffer
		o := options(t)
		o.Log, o.LogPrompts = slog.New(slog.NewTextHandler(&log, nil)), asked
		_, url := start(t, o)
		ask(t, url+"/v1/chat/completions", `{"messages": [{"role": "user", "content": "my secret"}], "max_tokens": 2}`)
		ask(t, url+"/v1/completions", `{"prompt": "my secret", "max_tokens": 2}`)
		ask(t, url+"/v1/responses", `{"input": "my secret", "max_output_tokens": 2}`)
		ask(t, url+"/v1/completions", `{"prompt": "my secret", "max_tokens": -2}`)
		if n := strings.Count(log.String(), "my secret"); n != 3 && asked || n > 0 && !asked {
			t.Errorf("prompts in the log: %d times\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "path=/v1/chat/completions status=200") || !strings.Contains(log.String(), "emitted=2") {
			t.Error(log.String())
		}
	}
}
