package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// URL finds or downloads the model at an http or https address and returns its path:
// to, or a path in the cache when to is empty. Of a split model, named by its first
// file, all files are fetched, into the folder of to. A file that is there is fetched
// again when the server's ETag has changed. Errors are [*Error].
func URL(ctx context.Context, address, to string, o Options) (string, error) {
	s, err := open(o)
	if err != nil {
		return "", err
	}
	u, err := parseURL(address)
	if err != nil {
		return "", &Error{Op: "download", What: address, Err: err, Hint: "give an address that starts with https://"}
	}
	name := path.Base(u.Path)
	if !filepath.IsLocal(name) || name == "." {
		return "", &Error{Op: "download", What: show(u), Err: errNoName, Hint: "give the address of a GGUF file"}
	}
	m := &remote{session: s, files: []*url.URL{u}, names: []string{name}, chosen: to != ""}
	if p, split := parseSplit(name); split {
		m.files, m.names = nil, nil
		for i := 1; i <= p.count; i++ {
			part := *u
			part.Path, part.RawPath = path.Join(path.Dir(u.Path), p.name(i)), ""
			m.files, m.names = append(m.files, &part), append(m.names, p.name(i))
		}
	} else if m.chosen {
		m.names[0] = filepath.Base(to)
	}
	if m.chosen {
		return m.get(ctx, filepath.Dir(to), "")
	}
	path, err := m.get(ctx, s.flat, "")
	if errors.Is(err, errForeign) {
		// The name is another address's: this one gets a name of its own.
		path, err = m.get(ctx, s.flat, fmt.Sprintf("-%x", sha256.Sum256([]byte(origin(u))))[:9])
	}
	return path, err
}

// remote is a model at an address, of one file or of several.
type remote struct {
	*session
	files  []*url.URL
	names  []string
	chosen bool // where it goes to, by the caller
}

var (
	errFolder  = errors.New("is a folder")
	errForeign = errors.New("another file is there, which was not downloaded from this address")
)

// get makes the model be in dir, its names marked with mark, and returns the path of its
// first file. errForeign says that a file of the name is not of this address.
func (m *remote) get(ctx context.Context, dir, mark string) (string, error) {
	var first string
	for i, u := range m.files {
		dest := filepath.Join(dir, marked(m.names[i], mark))
		if i == 0 {
			first = dest
		}
		if err := m.refresh(ctx, u, dest); err != nil {
			return "", err
		}
	}
	return first, nil
}

// marked is a file's name with a mark before what llama.cpp reads from its end.
func marked(name, mark string) string {
	if p, split := parseSplit(name); split {
		rest := strings.TrimPrefix(name, p.prefix)
		return p.prefix + mark + rest
	}
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + mark + ext
}

// origin is what FILE.url says of a file that came from u. Its query may hold secrets and
// is told by its hash alone.
func origin(u *url.URL) string {
	if u.RawQuery == "" {
		return show(u)
	}
	return fmt.Sprintf("%s %x", show(u), sha256.Sum256([]byte(u.RawQuery)))
}

// refresh makes the file at an address be at dest: it is fetched when it is not there,
// or when the server has another version.
func (m *remote) refresh(ctx context.Context, u *url.URL, dest string) error {
	j := job{url: u, dest: dest, name: path.Base(u.Path), origin: origin(u), seize: m.chosen}
	st, err := os.Stat(dest)
	if err == nil && st.IsDir() {
		return &Error{Op: "download", What: dest, Err: errFolder, Hint: "name the file, not the folder it goes to"}
	}
	there := err == nil
	from := readLine(dest + ".url")
	switch {
	case from == j.origin:
	case from == "" && there && !m.chosen && !isGGUF(dest):
		there = false // what an older ivo took a web page for
	case from == "" && !there, m.chosen && !there:
	default:
		if err := m.adopt(ctx, u, dest, from); err != nil {
			return err
		}
		from = readLine(dest + ".url")
	}
	switch {
	case m.Offline && !there:
		return &Error{Op: "find", What: show(u), Err: fmt.Errorf("%w (%s)", ErrNotCached, dest), Hint: "run it once without {offline}; LLAMA_CACHE says where the cache is"}
	case m.Offline, there && from == "": // adopt has said what there is to say
		return nil
	case there:
		fresh, err := m.fresh(ctx, u, dest, st.Size())
		if fresh || err != nil {
			return err
		}
		j.replaces = st
	}
	return m.download(ctx, j)
}

// adopt decides about a file at dest that is of another address, or of no known one, by
// asking for the ETag at u: llama.cpp keeps that of what it downloads, and an address that
// is signed anew each time has the same file. Where nobody answers, a file of unknown
// address is used with a word.
func (m *remote) adopt(ctx context.Context, u *url.URL, dest, from string) error {
	foreign := &Error{Op: "download", What: dest, Err: errForeign, Hint: "give another name, or remove it"}
	if from != "" {
		if address, _, _ := strings.Cut(from, " "); address != show(u) {
			return foreign
		}
	}
	var etag string
	var size int64 = -1
	err := errors.New("offline")
	if !m.Offline {
		etag, size, err = m.ask(ctx, u)
		if ctx.Err() != nil {
			return m.failed(ctx, "download", show(u), err)
		}
	}
	have := readLine(dest + ".etag")
	switch {
	case err == nil && etag != "" && etag == have, err == nil && m.chosen && have == "" && isFile(dest, size) && size > 0:
		return atomicfile.WriteBytes(dest+".url", []byte(origin(u)))
	case err != nil && from == "" && !refusal(err):
		slog.Warn("the address that a file came from is not known, and the server cannot be asked; the file is used", "file", dest, "error", err)
		return nil
	}
	return foreign
}

// fresh asks the server whether dest, which came from u, is the version that it has. As
// with llama.cpp, a server that does not answer, or has no ETag, has no other, unless it
// names another length.
func (m *remote) fresh(ctx context.Context, u *url.URL, dest string, size int64) (bool, error) {
	etag, now, err := m.ask(ctx, u)
	if err != nil {
		if ctx.Err() != nil {
			return false, m.failed(ctx, "download", show(u), err)
		}
		slog.Warn("the server cannot be asked for a newer version; the file that is there is used", "file", dest, "error", err)
		return true, nil
	}
	have := readLine(dest + ".etag")
	if etag == "" || have == "" {
		return now <= 0 || now == size, nil
	}
	return have == etag, nil
}

// ask asks for the ETag and the length of the file at u, -1 if the server does not say it.
func (m *remote) ask(ctx context.Context, u *url.URL) (etag string, size int64, err error) {
	r, stop, err := m.do(ctx, http.MethodHead, u, nil)
	if err != nil {
		return "", 0, err
	}
	defer stop()
	r.Body.Close()
	switch {
	case r.StatusCode/100 != 2:
		return "", 0, m.refused("download", show(u), r)
	case isPage(r):
		return "", 0, errors.New("the server answers with a web page")
	}
	return r.Header.Get("ETag"), r.ContentLength, nil
}

// refusal says whether a server's answer was no, rather than that it cannot answer now.
func refusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
}

func readLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// isGGUF says whether a file at path begins as a GGUF file does.
func isGGUF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, len(gguf.Magic))
	_, err = io.ReadFull(f, begin)
	return err == nil && string(begin) == gguf.Magic
}
