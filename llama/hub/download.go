package hub

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// job is one file to download.
type job struct {
	url      *url.URL
	dest     string
	name     string      // for people
	size     int64       // bytes as the hub lists them, 0 when it does not
	oid      string      // SHA-256 or git SHA-1 as the hub lists it, or ""
	origin   string      // dest.url shall name it, and dest.etag the version; "" for neither
	seize    bool        // dest is taken from another origin that has not finished
	replaces os.FileInfo // the version that is at dest now, if any
	any      bool        // it need not begin as a model does
}

// partial is a job under way.
type partial struct {
	job
	*session
	f       *os.File
	path    string
	n       int64     // bytes that have arrived
	most    int64     // n at its highest
	total   int64     // of how many; 0 while unknown
	sum     string    // that they must have, as oid; "" while unknown
	h       hash.Hash // of them; nil until there is a sum
	etag    string    // strong, of the answer they come from; "" when there is none
	version string    // ETag of the last answer
	resumed bool      // not all of them come from one answer
}

// download brings a file to its place.
func (s *session) download(ctx context.Context, j job) error {
	p, err := s.begin(ctx, j)
	if err == nil && p != nil {
		defer p.f.Close()
		err = s.again(ctx, maxTries, func() (bool, error) { return p.transfer(ctx) })
		if err == nil {
			err = p.finish()
		}
	}
	if err != nil {
		if p != nil && p.n == 0 {
			p.drop()
		}
		return s.failed(ctx, "download", j.name, err)
	}
	return nil
}

// begin opens the partial file, for this process alone; nil when another process has
// brought the file to its place meanwhile.
func (s *session) begin(ctx context.Context, j job) (*partial, error) {
	if err := os.MkdirAll(filepath.Dir(j.dest), 0o755); err != nil {
		return nil, err
	}
	p := &partial{job: j, session: s, path: j.dest + ".downloadInProgress", total: j.size, sum: j.oid}
	for told := false; ; {
		f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		mine := lock(f)
		now, err := os.Stat(p.path)
		// The one who had the lock may have renamed or removed the file.
		same := err == nil && os.SameFile(st, now)
		if mine && same {
			p.f, p.n = f, now.Size()
			break
		}
		f.Close()
		if mine {
			continue
		}
		if !told {
			told = true
			slog.Warn("another process is downloading the file; waiting for it", "file", j.name)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	// The other process may have fetched it from elsewhere.
	ours := j.origin == "" || readLine(j.dest+".url") == j.origin
	if st, err := os.Stat(j.dest); err == nil && ours && (j.size <= 0 || st.Size() == j.size) && (j.replaces == nil || !os.SameFile(st, j.replaces)) {
		p.drop()
		p.f.Close()
		return nil, nil
	}
	p.etag = readLine(p.path + ".etag")
	if err := p.claim(); err != nil {
		p.f.Close()
		return nil, err
	}
	p.resumed, p.most = p.n > 0, p.n
	return p, nil
}

// claim notes where dest comes from. Bytes of another origin, or of none that is known,
// are not gone on from.
func (p *partial) claim() error {
	if p.origin == "" {
		return nil
	}
	switch from := readLine(p.dest + ".url"); {
	case from == p.origin:
		return nil
	case from != "" && !p.seize:
		return &Error{Op: "download", What: p.dest, Err: errForeign, Hint: "try again"}
	}
	if err := p.restart(); err != nil {
		return err
	}
	return atomicfile.WriteBytes(p.dest+".url", []byte(p.origin))
}

// transfer asks for what is missing and takes it; progress says whether any came.
func (p *partial) transfer(ctx context.Context) (progress bool, err error) {
	// Bytes of which nothing says what they are the beginning of are not gone on from.
	if p.n > 0 && ((p.sum == "" && p.etag == "") || (p.total > 0 && p.n > p.total)) {
		if err := p.restart(); err != nil {
			return false, err
		}
	}
	if err := p.hashed(ctx); err != nil { // before the request, which should not wait for it
		return false, err
	}
	if p.total > 0 && p.n == p.total {
		return false, p.check(ctx)
	}
	header := http.Header{"Accept-Encoding": {"identity"}}
	if p.n > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", p.n))
		if p.sum == "" {
			header.Set("If-Range", p.etag)
		}
	}
	r, stop, err := p.do(ctx, http.MethodGet, p.url, header)
	if err != nil {
		return false, p.lost(ctx, "download", p.name, err)
	}
	defer stop()
	defer r.Body.Close()
	if err := p.accept(r); err != nil {
		return false, err
	}
	err = p.copy(ctx, r.Body)
	// A server without ranges that is cut at the same place each time gets no further.
	progress, p.most = p.n > p.most, max(p.n, p.most)
	if err == nil {
		err = p.check(ctx)
	}
	return progress, err
}

var errRange = errors.New("the server sent another part of the file than it was asked for")

// accept takes what an answer says of the file, and sets the partial file to where the
// answer's body goes on.
func (p *partial) accept(r *http.Response) error {
	sum, size := linked(r)
	var total int64
	switch r.StatusCode {
	case http.StatusOK:
		if p.n > 0 && isPage(r) { // for which what has come is not thrown away
			return p.page()
		}
		// Whole: there are no ranges, or it is another version.
		if err := p.restart(); err != nil {
			return err
		}
		p.sum, p.total = first(p.oid, sum), max(p.size, size)
		total = r.ContentLength
	case http.StatusPartialContent:
		var start int64
		start, total = contentRange(r.Header.Get("Content-Range"))
		if start != p.n || (sum != "" && p.sum != "" && sum != p.sum) {
			return p.afresh(errRange)
		}
		p.sum, p.resumed = first(p.sum, sum), true
	case http.StatusRequestedRangeNotSatisfiable:
		_, total = contentRange(r.Header.Get("Content-Range"))
		if total != p.n || p.n == 0 {
			return p.afresh(errRange)
		}
		r.Body = http.NoBody // it holds the server's words, not the file's
	default:
		return later(r, p.refused("download", p.name, r))
	}
	if total > 0 && p.total > 0 && total != p.total {
		return p.wrong(fmt.Errorf("%d bytes at the server, but it should be %d", total, p.total))
	}
	p.total = max(p.total, total)
	p.version = first(r.Header.Get("ETag"), p.etag)
	if p.sum == "" && p.n == 0 {
		return p.remember(p.version)
	}
	return nil
}

// afresh starts from the beginning with the next try.
func (p *partial) afresh(err error) error {
	if err := p.restart(); err != nil {
		return err
	}
	return busy{err: &Error{Op: "download", What: p.name, Err: err, Hint: "the server may not support ranges as it says: try again"}}
}

// remember keeps a strong ETag beside the partial file, for one who goes on with it.
func (p *partial) remember(etag string) error {
	if !strings.HasPrefix(etag, `"`) {
		p.etag = ""
		os.Remove(p.path + ".etag")
		return nil
	}
	p.etag = etag
	return atomicfile.WriteBytes(p.path+".etag", []byte(etag))
}

// contentRange reads "bytes START-END/TOTAL" and "bytes */TOTAL"; what is missing is -1
// for start and 0 for total.
func contentRange(s string) (start, total int64) {
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return -1, 0
	}
	start = -1
	if m[1] != "" {
		start, _ = strconv.ParseInt(m[1], 10, 64)
	}
	total, _ = strconv.ParseInt(m[2], 10, 64)
	return start, total
}

var rangeForm = regexp.MustCompile(`^bytes (?:(\d+)-\d+|\*)/(\d+|\*)$`)

// linked is what the hub says of a file in the answer that redirects to its bytes.
func linked(r *http.Response) (sum string, size int64) {
	for ; r != nil; r = r.Request.Response {
		if id := strings.Trim(r.Header.Get("X-Linked-Etag"), `"`); objectID.MatchString(id) {
			size, _ = strconv.ParseInt(r.Header.Get("X-Linked-Size"), 10, 64)
			return id, size
		}
	}
	return "", 0
}

// restart forgets all bytes.
func (p *partial) restart() error {
	p.h, p.resumed = nil, false
	if p.n == 0 {
		return nil
	}
	p.n = 0
	return p.f.Truncate(0)
}

// copy appends a body to the partial file.
func (p *partial) copy(ctx context.Context, body io.Reader) error {
	if err := p.hashed(ctx); err != nil {
		return err
	}
	buf := make([]byte, 1<<18)
	told := p.n
	p.tell()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := body.Read(buf)
		if p.total > 0 && p.n+int64(n) > p.total {
			return p.wrong(fmt.Errorf("more than the %d bytes that the server announced", p.total))
		}
		if n > 0 {
			if _, err := p.f.WriteAt(buf[:n], p.n); err != nil {
				return p.failed(ctx, "download", p.name, err)
			}
			if p.h != nil {
				p.h.Write(buf[:n])
			}
			p.n += int64(n)
			if before := p.n - int64(n); before < int64(len(gguf.Magic)) && p.n >= int64(len(gguf.Magic)) {
				if err := p.begins(); err != nil { // rather than after gigabytes
					return err
				}
			}
		}
		if p.n-told >= 1<<20 || (err == io.EOF && p.n > told) {
			told = p.n
			p.tell()
		}
		if err == io.EOF && p.n < p.total {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return p.lost(ctx, "download", p.name, fmt.Errorf("after %d of %d bytes: %w", p.n, p.total, err))
		}
	}
}

func (p *partial) tell() {
	if p.Progress != nil {
		p.Progress(p.name, p.n, p.total)
	}
}
