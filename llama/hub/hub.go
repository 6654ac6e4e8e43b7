// Package hub finds GGUF models in llama.cpp's cache, and downloads those that are not
// there: from a Hugging Face repository ([Repo], llama.cpp's -hf; [Head] for a value head) or from an address
// ([URL], its -mu). Models of Ollama and LM Studio are found in their folders ([Models] lists all). It knows nothing of what a model holds but how its file begins.
//
// # Where files lie
//
// llama.cpp has used two layouts, and both are read here.
//
// Since March 2026 (pull requests 20775 and 21009) -hf shares the cache of the Hugging
// Face libraries. Its folder is the first of these that is set, on every system:
//
//	$LLAMA_CACHE  $HF_HUB_CACHE  $HUGGINGFACE_HUB_CACHE  $HF_HOME/hub
//	$XDG_CACHE_HOME/huggingface/hub  ~/.cache/huggingface/hub
//
// and in it (https://huggingface.co/docs/hub/local-cache)
//
//	models--USER--REPO/refs/main                the newest commit
//	models--USER--REPO/blobs/OID                a file, named by its SHA-256 (or git SHA-1)
//	models--USER--REPO/snapshots/COMMIT/FILE    a link to ../../blobs/OID
//
// Before that, and to this day for -mu, files lie flat in $LLAMA_CACHE, or in
// llama.cpp below $XDG_CACHE_HOME or ~/.cache (~/Library/Caches on macOS, %LOCALAPPDATA%
// on Windows):
//
//	USER_REPO_FILE.gguf             of -hf, with manifest=USER=REPO=TAG.json
//	FILE.gguf                       of -mu, with FILE.gguf.etag
//
// llama.cpp takes any FILE.gguf for that of any address that ends so. Here FILE.gguf.url
// says which address it came from, and another address's becomes FILE-HASH.gguf. What
// llama.cpp downloaded is used where the server names the same ETag, or cannot be asked.
//
// Repositories are downloaded into the newer layout, addresses into the flat one, so
// that llama.cpp finds them; whatever llama.cpp has downloaded in either layout is used
// where it lies. (llama.cpp itself moves files of the older layout into the newer.)
// Downloads of llama.cpp 0.7.0 and of this package were found by each other.
//
// # Which file of a repository
//
// As in llama.cpp: the quantization after the colon, else Q4_K_M, else Q8_0, else the
// first GGUF file, leaving out projectors (mmproj), importance matrices and draft heads
// (mtp-, eagle3-, dflash-, dspark-) and value heads (head.gguf); all files of a split model. Unlike llama.cpp, which
// takes a name that contains the quantization, one that has it as a word goes first:
// F16 is not BF16. A preset.ini is ignored.
//
// # Other environment
//
// $HF_TOKEN is the access token; it is sent to the hub's own address only, never to
// the host that the hub redirects to. $MODEL_ENDPOINT or $HF_ENDPOINT is the hub's
// address. $LLAMA_ARG_OFFLINE (on, enabled, true or 1) or $LLAMA_OFFLINE keeps off the
// network.
//
// # What a download can survive
//
// Bytes go to OID.downloadInProgress, llama.cpp's name for it, which stays when a
// download is cut, cancelled or killed: the next one goes on from there. The whole file
// must have the length and the checksum that the hub names; without a checksum, a
// server's strong ETag must be the same for all parts, and it must begin as a GGUF file
// does, if it is one: web pages are not kept. Only then, synced to disk, it takes its name. Cut connections and a busy server (408, 429, 5xx) are tried again. A
// second process (on Unix) waits for the first.
package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say how models are found. The zero value takes everything from the
// environment, as llama.cpp does.
type Options struct {
	Token    string // access token; else $HF_TOKEN
	Endpoint string // of the hub; else $MODEL_ENDPOINT, $HF_ENDPOINT or https://huggingface.co
	CacheDir string // folder of both layouts, as $LLAMA_CACHE is; else as the environment says
	Offline  bool   // use what is in the cache, and no network
	// Progress, if set, is told how many bytes of a file have arrived, of how many in
	// all (0 when the server does not say). It is not called for files that are there.
	Progress func(file string, done, total int64)
	Client   *http.Client // else http.DefaultClient
	// Wait, if set, waits before a request is tried again; the default is a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// session is one call: its options with all that the environment adds to them.
type session struct {
	Options
	endpoint *url.URL // its path ends in /
	client   *http.Client
	hub      string // folder of the Hugging Face layout
	flat     string // folder of the flat layout
	stall    time.Duration
}

func open(o Options) (*session, error) {
	s := &session{Options: o, stall: time.Minute}
	s.Token = strings.TrimSpace(first(o.Token, os.Getenv("HF_TOKEN")))
	s.Offline = o.Offline || truthy(os.Getenv("LLAMA_ARG_OFFLINE")) || truthy(os.Getenv("LLAMA_OFFLINE"))
	if s.Wait == nil {
		s.Wait = sleep
	}
	address := first(o.Endpoint, os.Getenv("MODEL_ENDPOINT"), os.Getenv("HF_ENDPOINT"), "https://huggingface.co")
	u, err := parseURL(address)
	if err != nil {
		return nil, &Error{Op: "find", What: address, Err: err, Hint: "set HF_ENDPOINT to an address such as https://huggingface.co, or to nothing"}
	}
	s.endpoint = u.JoinPath("/")
	s.client = stripping(o.Client)
	if s.hub, err = hubDir(o.CacheDir); err != nil {
		return nil, err
	}
	s.flat, err = flatDir(o.CacheDir)
	return s, err
}

// truthy is what llama.cpp takes for yes in the environment.
func truthy(v string) bool { return v == "on" || v == "enabled" || v == "true" || v == "1" }

// first is the first value that is not empty.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Repo finds or downloads a model of the repository USER/REPO or USER/REPO:QUANT, such
// as ggml-org/gemma-3-1b-it-GGUF:Q8_0, and returns its path, of a split model the first
// file's. file, if not empty, names the file instead. When the hub does not answer, a
// model that is in the cache is used. Errors are [*Error].
func Repo(ctx context.Context, repo, file string, o Options) (string, error) {
	s, err := open(o)
	if err != nil {
		return "", err
	}
	id, tag, err := parseRepo(repo)
	if err != nil {
		return "", err
	}
	choice := func(paths []string) ([]string, error) { return choose(id, paths, tag, file) }
	cached := first(s.cached(id, choice), s.flatCached(id, tag, file))
	return s.repo(ctx, id, first(file, tag), cached, choice)
}

// Head finds or downloads the value head of the repository USER/REPO or USER/REPO:FILE and
// returns its path. Without FILE it is head.gguf, else the only GGUF file with head in its
// name, else the only one. Otherwise it is as [Repo].
func Head(ctx context.Context, repo string, o Options) (string, error) {
	s, err := open(o)
	if err != nil {
		return "", err
	}
	id, file, err := parseRepo(repo)
	if err != nil {
		return "", err
	}
	choice := func(paths []string) ([]string, error) { return chooseHead(id, paths, file) }
	return s.repo(ctx, id, file, s.cached(id, choice), choice)
}

// Files finds or downloads files of the repository USER/REPO that are no models, such as those of a
// checkpoint: those in its topmost folder whose names choose picks, one at least. It returns the folder
// in which they lie.
func Files(ctx context.Context, repo string, choose func(names []string) ([]string, error), o Options) (string, error) {
	s, err := open(o)
	if err != nil {
		return "", err
	}
	id, tag, err := parseRepo(repo)
	if err != nil {
		return "", err
	}
	if tag != "" {
		return "", &Error{Op: "find", What: repo, Err: errors.New("a checkpoint has no quantizations"), Hint: "write user/repo"}
	}
	choice := func(paths []string) ([]string, error) {
		names, err := choose(slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.Contains(p, "/") }))
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			err = &Error{Op: "find", What: id, Err: err, Hint: "check the name of the repository"}
		}
		return names, err
	}
	path, err := s.repo(ctx, id, "", s.cached(id, choice), choice)
	if err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

// repo is the path of what is chosen from a repository; cached is where it was found, if it
// was, and name says for people what is looked for.
func (s *session) repo(ctx context.Context, id, name, cached string, choose chooser) (string, error) {
	switch {
	case s.Offline && cached == "":
		return "", s.notCached(id, name)
	case s.Offline:
		return cached, nil
	}
	tries := listTries
	if cached != "" {
		tries = 1
	}
	l, err := s.list(ctx, id, tries)
	if err != nil {
		if cached != "" && ctx.Err() == nil {
			slog.Warn("the hub cannot be asked for a newer version; the file in the cache is used", "repository", id, "error", err)
			return cached, nil
		}
		return "", err
	}
	return s.fetch(ctx, l, choose)
}
