package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// routes are the addresses that are answered.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	open := func(pattern string, f handler) {
		mux.Handle(pattern, s.handle(f))
		method, path, _ := strings.Cut(pattern, " ")
		methods[path] = append(methods[path], method)
	}
	kept := func(pattern string, f handler) { open(pattern, s.keyed(f)) }
	for _, prefix := range []string{"/v1", ""} { // llama-server has both
		kept("GET "+prefix+"/models", s.models)
		kept("POST "+prefix+"/chat/completions", s.chat)
		kept("POST "+prefix+"/completions", s.completions)
		kept("POST "+prefix+"/embeddings", s.embeddings)
		open("GET "+prefix+"/health", s.health)
	}
	kept("POST /v1/responses", s.responses)
	kept("GET /props", s.props)
	kept("GET /metrics", s.metrics)
	kept("POST /score", s.score)
	kept("GET /runs", s.runs)
	kept("GET /runs/{run}/report", s.report)
	kept("GET /prompts", s.prompts)
	kept("GET /prompts/{list}", s.promptList)
	s.page(open)
	kept("POST /tokenize", s.tokenize)
	kept("POST /detokenize", s.detokenize)
	kept("POST /apply-template", s.applyTemplate)
	kept("GET /v1/models/{model}", s.model)
	open("GET /openapi.json", s.openapi)
	for path, allowed := range methods {
		allow := strings.Join(append(allowed, "OPTIONS"), ", ")
		mux.Handle(path, s.handle(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Allow", allow)
			return &problem{status: http.StatusMethodNotAllowed, message: r.Method + " is not answered at " + r.URL.Path + ", but " + allow}
		}))
	}
	mux.Handle("/", s.handle(s.unknown))
	return s.guard(mux)
}

// handler answers a request; an error is told to the client unless something has been written.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle is a handler with what all share: the log, and errors.
func (s *Server) handle(f handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w, log: map[string]any{}}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.o.Log.Error("panic", "path", r.URL.Path, "what", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					s.writeError(rec, &problem{status: http.StatusInternalServerError, message: "the server could not answer: its log says why"})
				}
			}
			args := []any{"method", r.Method, "path", r.URL.Path, "status", rec.status, "ms", time.Since(begin).Milliseconds()}
			for _, name := range []string{"model", "prompt_tokens", "emitted", "decoded", "error"} {
				if v, ok := rec.log[name]; ok {
					args = append(args, name, v)
				}
			}
			s.counted.count(r, rec, time.Since(begin))
			s.o.Log.Info("request", args...)
		}()
		err := f(rec, r)
		var told *problem
		switch {
		case err == nil:
		case r.Context().Err() != nil && !errors.As(err, &told):
			rec.log["error"] = "the client has gone"
		default:
			p := problemOf(err)
			if rec.log["error"] = p.message; p.status == http.StatusInternalServerError {
				s.o.Log.Error("failed", "path", r.URL.Path, "err", err)
			}
			if rec.status == 0 {
				s.writeError(rec, p)
			}
		}
	})
}

// recorder notes what a request's log line says.
type recorder struct {
	http.ResponseWriter
	status int
	log    map[string]any
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// note adds to the request's log line.
func note(w http.ResponseWriter, name string, value any) {
	if r, ok := w.(*recorder); ok {
		r.log[name] = value
	}
}

func (s *Server) writeError(w http.ResponseWriter, p *problem) {
	if p.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, p.status, map[string]any{"error": p})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := w.Write(append(encode(v), '\n'))
	return err
}

// keyed lets those pass who show a key.
func (s *Server) keyed(f handler) handler {
	var sums [][sha256.Size]byte
	for _, key := range s.o.Keys {
		sums = append(sums, sha256.Sum256([]byte(key)))
	}
	if len(sums) == 0 {
		return f
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		shown, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			shown = r.Header.Get("X-Api-Key")
		}
		// Sums are of one length, and all are compared: the time tells nothing of the keys.
		sum, found := sha256.Sum256([]byte(strings.TrimSpace(shown))), 0
		for _, key := range sums {
			found |= subtle.ConstantTimeCompare(sum[:], key[:])
		}
		if found == 0 {
			return &problem{status: http.StatusUnauthorized, message: "the API key is wrong or missing: send one of the server's as Authorization: Bearer KEY", code: "invalid_api_key"}
		}
		return f(w, r)
	}
}

// guard looks at where a request comes from before anything is done for it. Pages of other origins may
// not ask unless they are named; and where there are no keys, only those who call the server by a name of
// its own, so that no page can reach it by a name that it has made point here.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		refuse := func(message string) {
			s.handle(func(http.ResponseWriter, *http.Request) error {
				return &problem{status: http.StatusForbidden, message: message}
			}).ServeHTTP(w, r)
		}
		if len(s.o.Keys) == 0 && !s.ownName(r.Host) {
			refuse("the server is not called by this name: ask whoever runs it to allow the host")
			return
		}
		origin := r.Header.Get("Origin")
		if origin == "" || origin == "http://"+r.Host || origin == "https://"+r.Host {
			next.ServeHTTP(w, r)
			return
		}
		if !slices.Contains(s.o.Origins, origin) && !slices.Contains(s.o.Origins, "*") {
			refuse("pages of this origin may not ask: ask whoever runs the server to allow it")
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions { // before the request itself
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, X-Stainless-Lang, X-Stainless-Package-Version, X-Stainless-OS, X-Stainless-Arch, X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Retry-Count, X-Stainless-Timeout")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownName says whether a host is this machine as seen from itself, or one that was named.
func (s *Server) ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(s.o.Hosts, name) || slices.Contains(s.o.Hosts, "*") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

func (s *Server) unknown(_ http.ResponseWriter, r *http.Request) error {
	return &problem{status: http.StatusNotFound, message: "there is nothing at " + r.Method + " " + r.URL.Path + ": /openapi.json lists what there is"}
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	if s.draining.Load() {
		return &problem{status: http.StatusServiceUnavailable, message: "the server is ending", retry: 5}
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// busy is the answer where the queue is full.
func (s *Server) busy() *problem {
	return &problem{status: http.StatusTooManyRequests, message: "too many requests wait: try again later", code: "rate_limit_exceeded", retry: 1}
}

// enter takes a place in the queue; leave gives it back.
func (s *Server) enter() (leave func(), err error) {
	if s.draining.Load() {
		return nil, &problem{status: http.StatusServiceUnavailable, message: "the server is ending", retry: 5}
	}
	if s.pending.Add(1) > int64(s.o.MaxQueue) {
		s.pending.Add(-1)
		return nil, s.busy()
	}
	return func() { s.pending.Add(-1) }, nil
}
