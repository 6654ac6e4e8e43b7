package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
)

// listing is a repository at one commit, as the hub lists it.
type listing struct {
	id     string
	branch string
	commit string
	files  []object
}

// object is one file of a listing.
type object struct {
	path string
	oid  string // SHA-256 or git SHA-1; "" when the hub does not say
	size int64  // 0 when the hub does not say
}

// Bounds of what the hub's API answers, far above what it really does.
const (
	maxListing = 64 << 20 // bytes
	maxPages   = 1000
)

// list asks the hub for the newest commit of main, or of another branch where there is
// no main, and for its files.
func (s *session) list(ctx context.Context, id string, tries int) (*listing, error) {
	var refs struct {
		Branches []struct {
			Name   string `json:"name"`
			Commit string `json:"targetCommit"`
		} `json:"branches"`
	}
	api := s.endpoint.JoinPath("api", "models", id)
	if _, err := s.get(ctx, id, api.JoinPath("refs"), &refs, tries); err != nil {
		return nil, err
	}
	l := &listing{id: id}
	for _, b := range refs.Branches {
		if commitHash.MatchString(b.Commit) && filepath.IsLocal(b.Name) && (l.commit == "" || b.Name == "main") {
			l.branch, l.commit = b.Name, b.Commit
		}
	}
	if l.commit == "" {
		return nil, &Error{Op: "find", What: id, Err: errors.New("the hub names no branch of it"), Hint: "check the name, or give {model_url}, the address of a file"}
	}

	next := api.JoinPath("tree", l.commit)
	next.RawQuery = "recursive=true"
	for pages := 0; next != nil && pages < maxPages; pages++ {
		var page []struct {
			Type string `json:"type"`
			Path string `json:"path"`
			OID  string `json:"oid"`
			Size int64  `json:"size"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		more, err := s.get(ctx, id, next, &page, tries)
		if err != nil {
			return nil, err
		}
		for _, f := range page {
			o := object{path: f.Path, oid: f.OID, size: f.Size}
			if f.LFS != nil {
				o.oid, o.size = f.LFS.OID, f.LFS.Size
			}
			_, err := filepath.Localize(o.path)
			if f.Type == "file" && err == nil && (o.oid == "" || objectID.MatchString(o.oid)) {
				l.files = append(l.files, o)
			}
		}
		next = more
	}
	return l, nil
}

var nextPage = regexp.MustCompile(`<([^>]+)>\s*;\s*rel="?next"?`)

// get decodes an answer of the hub's API into v, and returns the address of the next
// page, if there is one.
func (s *session) get(ctx context.Context, id string, u *url.URL, v any, tries int) (next *url.URL, err error) {
	err = s.again(ctx, tries, func() (bool, error) {
		r, stop, err := s.do(ctx, http.MethodGet, u, http.Header{"Accept": {"application/json"}})
		if err != nil {
			return false, s.lost(ctx, "find", id, err)
		}
		defer stop()
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return false, later(r, s.refused("find", id, r))
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxListing))
		if err != nil {
			return false, s.lost(ctx, "find", id, err)
		}
		if err := json.Unmarshal(body, v); err != nil {
			return false, &Error{Op: "find", What: id, Err: fmt.Errorf("%s does not answer as the hub does: %w", u.Host, err), Hint: "check HF_ENDPOINT; a proxy may have answered instead"}
		}
		if m := nextPage.FindStringSubmatch(r.Header.Get("Link")); m != nil {
			if next, err = u.Parse(m[1]); err != nil {
				next = nil
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, s.failed(ctx, "find", id, err)
	}
	return next, nil
}
