package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Requests that mean harm are refused, in OpenAI's shape, and leave no more behind than others do.
func TestHostile(t *testing.T) {
	_, url := start(t, options(t))
	stops := make([]string, 10_000)
	biases := make(map[string]float64, 100_000)
	for i := range stops {
		stops[i] = fmt.Sprint("stop", i)
	}
	for i := range 100_000 {
		biases[fmt.Sprint(i)] = -1
	}
	chat := func(fields tree) string {
		fields["messages"] = post
		return body(t, fields)
	}
	requests := map[string]string{
		"10,000 stop texts":          chat(tree{"stop": stops}),
		"a stop text of 1 MB":        chat(tree{"stop": strings.Repeat("x", 1<<20)}),
		"a logit_bias of 1 MB":       chat(tree{"logit_bias": biases}),
		"a deep array":               strings.Repeat("[", 1_000_000),
		"deep objects":               strings.Repeat(`{"a":`, 200_000),
		"a deep field":               `{"messages":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}",
		"a deep schema":              chat(tree{"response_format": tree{"type": "json_schema", "json_schema": tree{"name": "x", "schema": nested(60)}}, "messages": nested(80)}),
		"a hundred million samples":  chat(tree{"n": 100_000_000}),
		"a search beyond the engine": chat(tree{"guidance": tree{"method": "block-beam", "beams": 1000, "block": 4, "reward": "taste"}}),
		"1 MB of prompt":             body(t, tree{"messages": []tree{{"role": "user", "content": strings.Repeat("a lamp ", 150_000)}}}),
		"a NUL in a name":            chat(tree{"model": "lab\x00/etc/passwd"}),
		"a NUL in a message":         body(t, tree{"messages": []tree{{"role": "user", "content": "a\x00b"}}}),
		"NUL bytes":                  strings.Repeat("\x00", 1000),
		"a path as a reward":         chat(tree{"guidance": tree{"reward": "cmd:/bin/sh"}}),
		"a path as a model":          chat(tree{"model": "../../testdata/lab/summarize-s.gguf"}),
		"half of a character":        `{"messages":[{"role":"user","content":"` + "\xff\xfe" + `"}],"max_tokens":1e999}`,
	}
	round := func() uint64 {
		for name, b := range requests {
			status, _, text := ask(t, url+"/v1/chat/completions", b)
			if status < 400 || status >= 500 || at(parse(t, text), "error", "message") == nil {
				t.Errorf("%s: %d %.200s", name, status, text)
			}
			if len(text) > 2000 {
				t.Errorf("%s: the reply has %d bytes", name, len(text))
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := round()
	round()
	if after := round(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

func nested(n int) any {
	var v any = "x"
	for range n {
		v = tree{"properties": tree{"a": v}}
	}
	return v
}

// Clients who vanish, keep half of a connection open or never read what they asked for keep nothing from
// others, and what was decoded for them is free again.
func TestVanishing(t *testing.T) {
	o := options(t)
	o.WriteTime, o.MaxQueue = 50*time.Millisecond, 4
	s, url := start(t, o)
	address := strings.TrimPrefix(url, "http://")
	streamed := body(t, tree{"messages": post, "max_tokens": 200, "stream": true, "logprobs": true, "top_logprobs": 20, "ignore_eos": true})
	request := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(streamed), streamed)
	for _, how := range []func(*net.TCPConn) error{
		func(c *net.TCPConn) error { return c.CloseWrite() }, // half open
		func(c *net.TCPConn) error { return c.Close() },
		func(c *net.TCPConn) error { c.SetLinger(0); return c.Close() },                                     // reset
		func(c *net.TCPConn) error { _, err := bufio.NewReader(c).ReadString('\n'); c.Close(); return err }, // after the first line
		func(c *net.TCPConn) error { return c.SetReadBuffer(1) },                                            // and never reads
	} {
		for range 3 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if err := how(conn.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		for { // until there is room in the queue for one who means it
			req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(body(t, tree{"messages": post, "max_tokens": 2})))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
			if res.StatusCode != 429 {
				t.Fatal(res.Status)
			}
		}
		cancel()
	}
	e := s.decoder.(*local).engine
	for s.pending.Load() > 0 || e.Load().Jobs > 0 || e.Load().Queued > 0 {
		runtime.Gosched()
	}
}
