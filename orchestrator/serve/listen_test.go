package serve

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat"
)

// A socket that systemd has opened is taken, as file 3, in the place of the host and the port. The process that
// takes it is this test, run once more.
func TestActivated(t *testing.T) {
	if os.Getenv("IVO_TEST_ACTIVATED") != "" {
		listeners, err := Listen("192.0.2.1", 1, false) // where nobody may listen without keys
		if err != nil || len(listeners) != 1 {
			t.Fatal(listeners, err)
		}
		http.Serve(listeners[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) }))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	defer f.Close()
	child := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestActivated$'`, os.Args[0])
	child.Env = append(os.Environ(), "LISTEN_FDS=1", "IVO_TEST_ACTIVATED=1")
	child.ExtraFiles = []*os.File{f}
	if err := child.Start(); err != nil {
		t.Skip(err) // no shell
	}
	defer child.Wait()
	defer child.Process.Kill()
	res, err := http.Get("http://" + l.Addr().String()) // waits in the socket until it is taken
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != fmt.Sprint(child.Process.Pid) {
		t.Errorf("%s (%v), the process is %d", text, err, child.Process.Pid)
	}
}

// Whoever could be reached by others wants keys.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		host  string
		keyed bool
		ok    bool
	}{{"127.0.0.1", false, true}, {"localhost", false, true}, {"::1", false, true}, {"0.0.0.0", true, true}, {"0.0.0.0", false, false}, {"", false, false}, {"192.0.2.1", false, false}, {"example.com", false, false}} {
		listeners, err := Listen(c.host, 0, c.keyed)
		if err != nil && c.host == "::1" {
			continue // a machine without IPv6
		}
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		for _, l := range listeners {
			l.Close()
		}
	}
}

// Keys come from a file, or from the environment.
func TestReadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	t.Setenv("IVO_API_KEY", " from-environment\n")
	for text, want := range map[string][]string{"# mine\n a \n\nb\r\n#c\n": {"a", "b"}, "last": {"last"}, "": nil, "# none\n": nil} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := Keys(path)
		if diff := cmp.Diff(want, keys); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %s", text, err, diff)
		}
	}
	if keys, err := Keys(""); err != nil || !slices.Equal(keys, []string{"from-environment"}) {
		t.Error(keys, err)
	}
}

// BenchmarkWrongKeys tells how the time of a refusal depends on how much of a key is right: the mean of each
// kind of guess, and how much longer it takes than a guess that is wrong from its first letter, in standard errors.
// Guesses come in random order. Where a guess lies in memory has a time of its own: there are many copies of each,
// whose means are what is compared. The slowest tenth of a copy's times is left out, as what the machine did besides.
func BenchmarkWrongKeys(b *testing.B) {
	const key = "ivo-4f0c8a1be27d93560f1e8c7ab2d45e91"
	s := &Server{o: Options{Keys: []string{key, "another"}}}
	h := s.keyed(func(http.ResponseWriter, *http.Request) error { panic("a wrong key was let in") })
	kinds := []struct{ name, guess string }{{"first", "X" + key[1:]}, {"half", key[:18] + "X" + key[19:]}, {"last", key[:len(key)-1] + "X"}, {"none", strings.Repeat("X", len(key))}}
	const copies = 256
	rng := rand.New(rand.NewPCG(1, 2))
	kind := rng.Perm(copies * len(kinds)) // modulo the kinds: none of them has a place of its own in memory's rows
	requests, times := make([]*http.Request, len(kind)), make([][]float64, len(kind))
	for i, k := range kind {
		requests[i] = &http.Request{Header: http.Header{"Authorization": {strings.Clone("Bearer " + kinds[k%len(kinds)].guess)}}}
	}
	for b.Loop() {
		i := rng.IntN(len(requests))
		begun := time.Now()
		h(nil, requests[i])
		times[i] = append(times[i], float64(time.Since(begun)))
	}
	means := make([][]float64, len(kinds)) // of a kind's copies
	for i, ts := range times {
		slices.Sort(ts)
		k := kind[i] % len(kinds)
		means[k] = append(means[k], stat.Mean(ts[:len(ts)-len(ts)/10], nil))
	}
	first, v := stat.MeanVariance(means[0], nil)
	for i, k := range kinds {
		mean, w := stat.MeanVariance(means[i], nil)
		b.ReportMetric(mean, k.name+"-ns")
		if i > 0 {
			b.ReportMetric((mean-first)/math.Sqrt((v+w)/copies), k.name+"-errors")
		}
	}
}
