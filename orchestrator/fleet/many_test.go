package fleet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// Many shards of one prompt, with states, go through a queue that holds a few of them at a time.
func TestManyShards(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	n := 200
	if os.Getenv("IVO_FLEET_MANY") != "" {
		fmt.Sscan(os.Getenv("IVO_FLEET_MANY"), &n)
	}
	schema, err := rollout.Schema(s.w.Model, s.o.Layers, false)
	if err != nil {
		t.Fatal(err)
	}
	all := s.drawings(n)
	for _, d := range all {
		d.Schema = &schema
	}
	w := s.worker(t, c.Address(), nil)
	times := make([]atomic.Int32, n)
	var taken, bytes atomic.Int64
	begun := time.Now()
	err = c.Draw(context.Background(), all, rollout.Taker{Put: func(i int, s *rollout.Shard) error {
		times[i].Add(1)
		if k := taken.Add(1); k%1000 == 0 {
			t.Log(k, resident())
		}
		info, err := os.Stat(s.File)
		if err == nil {
			bytes.Add(info.Size())
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range times {
		if k := times[i].Load(); k != 1 {
			t.Errorf("shard %d was taken %d times", i, k)
		}
	}
	t.Logf("%d shards in %v, %d bytes of states each: %s", n, time.Since(begun), bytes.Load()/int64(n), resident())
	w.stop()
	<-w.ended
}

// resident is the memory of the process, as Linux tells it.
func resident() string {
	data, _ := os.ReadFile("/proc/self/status")
	var out []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "VmRSS") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(out, ", ")
}
