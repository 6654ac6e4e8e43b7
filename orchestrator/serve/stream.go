package serve

import (
	"errors"
	"net/http"
	"time"
)

// stream writes server-sent events. The headers are written with the first of them, so that what is wrong
// before is told as an error.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	time  time.Duration // that the client may take to read
	begun bool
}

func (s *Server) stream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), time: s.o.WriteTime}
}

func (e *stream) write(text []byte) error {
	if !e.begun {
		e.begun = true
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // proxies pass on what comes
		e.w.WriteHeader(http.StatusOK)
	}
	if err := e.rc.SetWriteDeadline(time.Now().Add(e.time)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := e.w.Write(text); err != nil {
		return err
	}
	return e.rc.Flush()
}

// data writes an event without a name.
func (e *stream) data(v any) error { return e.event("", v) }

// event writes an event; name may be empty.
func (e *stream) event(name string, v any) error {
	var b []byte
	if name != "" {
		b = append(b, "event: "+name+"\n"...)
	}
	b = append(b, "data: "...)
	b = append(b, encode(v)...)
	return e.write(append(b, "\n\n"...))
}

// alive writes a comment, which clients leave alone.
func (e *stream) alive() error { return e.write([]byte(": still searching\n\n")) }

// done ends a stream as OpenAI's end.
func (e *stream) done() error { return e.write([]byte("data: [DONE]\n\n")) }

// fail tells an error in a stream that has begun.
func (e *stream) fail(err error) error {
	if !e.begun {
		return err
	}
	if werr := e.data(map[string]any{"error": problemOf(err)}); werr != nil {
		return werr
	}
	return err
}
