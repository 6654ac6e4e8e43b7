package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// hashed makes p.h the hash of the bytes that are there, when there is a checksum.
func (p *partial) hashed(ctx context.Context) error {
	switch {
	case p.h != nil || p.sum == "":
		return nil
	case len(p.sum) == 2*sha256.Size:
		p.h = sha256.New()
	case p.total > 0: // of a git blob, whose length comes first
		p.h = sha1.New()
		fmt.Fprintf(p.h, "blob %d\x00", p.total)
	default:
		return nil
	}
	_, err := io.Copy(p.h, &stoppable{ctx, io.NewSectionReader(p.f, 0, p.n)})
	return err
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (s *stoppable) Read(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(b)
}

// check compares the checksum of the whole file.
func (p *partial) check(ctx context.Context) error {
	if err := p.hashed(ctx); err != nil || p.h == nil {
		return err
	}
	got := hex.EncodeToString(p.h.Sum(nil))
	if strings.EqualFold(got, p.sum) {
		return nil
	}
	err := fmt.Errorf("checksum %s, but it should be %s", got, p.sum)
	if p.resumed {
		// Something else may have written what was there.
		return p.afresh(err)
	}
	return p.wrong(err)
}

// wrong is the error of bytes that are not the file's; they are not kept.
func (p *partial) wrong(err error) error {
	p.drop()
	return &Error{Op: "download", What: p.name, Err: err, Hint: "what came was thrown away: try again; if it stays so, a proxy or the server damages the file"}
}

// drop removes the partial file, and with it the claim to a name that has no file.
func (p *partial) drop() {
	os.Remove(p.path)
	os.Remove(p.path + ".etag")
	if _, err := os.Stat(p.dest); err != nil && p.origin != "" {
		os.Remove(p.dest + ".url")
	}
}

// isPage says whether an answer is for a browser.
func isPage(r *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "text/html" || kind == "application/xhtml+xml"
}

// page is the error of a web page in the place of a file.
func (p *partial) page() error {
	hint := "open the address in a browser: it may want you to sign in, or be the page from which the file is downloaded; give the address of the file itself"
	if before, after, blob := strings.Cut(p.url.Path, "/blob/"); blob && p.oid == "" {
		hint = "that is the address to view the file: give " + (&url.URL{Scheme: p.url.Scheme, Host: p.url.Host, Path: before + "/resolve/" + after}).String()
	}
	return &Error{Op: "download", What: p.name, Err: errors.New("the server sent a web page, not the file"), Hint: hint}
}

// begins checks that the file begins as a model does.
func (p *partial) begins() error {
	begin := make([]byte, 512)
	n, err := p.f.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		return err
	}
	begin = begin[:n]
	if bytes.HasPrefix(begin, []byte(gguf.Magic)) {
		return nil
	}
	what, hint := gguf.Foreign(begin)
	if p.any && what != gguf.WebPage {
		return nil
	}
	p.drop()
	switch what {
	case gguf.WebPage:
		return p.page()
	case "":
		what, hint = "no GGUF file", "give the address of a GGUF file; what came was thrown away"
	}
	return &Error{Op: "download", What: p.name, Err: fmt.Errorf("what the server sent is %s", what), Hint: hint}
}

// finish gives the whole file its name.
func (p *partial) finish() error {
	if err := p.begins(); err != nil {
		return err
	}
	if err := p.f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	if runtime.GOOS == "windows" { // which renames no open file
		p.f.Close()
	}
	if err := atomicfile.Rename(p.path, p.dest); err != nil {
		return err
	}
	os.Remove(p.path + ".etag")
	if p.origin != "" && p.version != "" {
		return atomicfile.WriteBytes(p.dest+".etag", []byte(p.version))
	}
	return nil
}
