package fleet_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// pieces of a result that a worker begins to store and does not go on with.
func pieces(t *testing.T, nc *nats.Conn, bucket, of string, n, size int) {
	t.Helper()
	for range n {
		m := nats.NewMsg("$O." + bucket + ".C." + of)
		m.Data = make([]byte, size)
		if r, err := nc.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		} else if r.Header.Get("Status") != "" {
			t.Fatal(r.Header)
		}
	}
}

// subjects are those of the messages in a bucket, with their numbers.
func subjects(t *testing.T, js jetstream.JetStream, bucket string) map[string]uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), "OBJ_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$O."+bucket+".>"))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// Pieces of results with which nobody goes on are removed; those of a result that is whole, or on which others follow, stay.
func TestAbandonedPieces(t *testing.T) {
	defer fleet.SetIdle(fleet.SetIdle(2 * time.Second))
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	i := newImpostor(t, c.Address())
	bucket := "ivo-" + i.run + "-results"
	results, err := i.js.ObjectStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := results.PutBytes(t.Context(), "key.worker.1", []byte("a result"))
	if err != nil {
		t.Fatal(err)
	}
	pieces(t, i.nc, bucket, "left", 2, 10)
	for begun := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		pieces(t, i.nc, bucket, "growing", 1, 10)
		there := subjects(t, i.js, bucket)
		if there["$O."+bucket+".C."+whole.NUID] == 0 || there["$O."+bucket+".C.growing"] == 0 {
			t.Fatalf("%v are left", there)
		}
		if there["$O."+bucket+".C.left"] == 0 {
			if took := time.Since(begun); took < time.Second {
				t.Errorf("removed after %v", took)
			}
			return
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("%v are there still", there)
		}
	}
}

// A store that has room for a few results at a time, and is full of what was left of others, is enough for a run: workers wait until
// there is room.
func TestCrowdedStore(t *testing.T) {
	defer fleet.SetIdle(fleet.SetIdle(2 * time.Second))
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	const store = 4 << 20
	c, _ := s.lead(t, dir, fleet.Options{Store: store})
	i := newImpostor(t, c.Address())
	pieces(t, i.nc, "ivo-"+i.run+"-results", "left", store/4/(10<<10)-1, 10<<10)
	var workers []*worker
	for range 3 {
		workers = append(workers, s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model }))
	}
	if err := s.run(context.Background(), dir, c); err != nil {
		t.Fatal(err)
	}
	finished(t, c, workers...)
	s.same(t, dir)
	for n, w := range workers {
		if w.has("could not be stored") {
			t.Errorf("worker %d: %s", n, &w.text)
		}
	}
}
