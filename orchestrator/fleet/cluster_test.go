package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
)

// cluster is three servers, as people have them who have a cluster.
type cluster struct {
	configs         []string // their files
	clients, health []string // where they are asked for messages, and how they are
	start, lose     func(i int)
}

// newCluster makes the files of three servers, and starts them as is said.
func newCluster(t *testing.T, start, lose func(i int, config string)) *cluster {
	t.Helper()
	c := &cluster{}
	c.start, c.lose = func(i int) { start(i, c.configs[i]) }, func(i int) { lose(i, c.configs[i]) }
	var routes []string
	for range 3 {
		routes = append(routes, "nats://"+freePort(t))
	}
	for i := range 3 {
		dir, client, health := t.TempDir(), freePort(t), freePort(t)
		text := fmt.Sprintf("server_name: node%d\nlisten: %q\nhttp: %q\njetstream {store_dir: %q, sync_interval: always}\ncluster {name: cluster, listen: %q, routes: [%s]}\n",
			i, client, health, dir, strings.TrimPrefix(routes[i], "nats://"), strings.Join(routes, ", "))
		config := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.configs, c.clients, c.health = append(c.configs, config), append(c.clients, "nats://"+client), append(c.health, "http://"+health+"/healthz")
	}
	for i := range 3 {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.lose(i)
		}
	})
	for i := range 3 {
		until(t, "a server of a cluster", func() bool { return c.sound(i) })
	}
	return c
}

// sound says whether a server is there, and has all that the others have.
func (c *cluster) sound(i int) bool {
	r, err := http.Get(c.health[i])
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// node is a server of a cluster.
func node(config string) (*server.Server, error) {
	o, err := server.ProcessConfigFile(config)
	if err != nil {
		return nil, err
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err == nil {
		s.Start()
	}
	return s, err
}

// losesInTurn has a run drawn by a cluster whose servers are lost one after the other, each of which comes back, and finds in
// what it is not the run that a machine draws alone. The run goes no further than is looked at until all of them were lost.
func losesInTurn(t *testing.T, cluster *cluster) {
	s := newSmall(t)
	s.o.ShardPrompts = 1
	alone, dir, url := filepath.Join(t.TempDir(), "alone"), filepath.Join(t.TempDir(), "fleet"), strings.Join(cluster.clients, ",")
	if err := s.run(context.Background(), alone, nil); err != nil {
		t.Fatal(err)
	}
	step := make(chan bool)
	s.w.Notify = func(loop.Event) { <-step }
	c, _ := s.lead(t, dir, fleet.Options{URL: url, Heartbeat: 5 * time.Second})
	workers := []*worker{s.worker(t, url, nil), s.worker(t, url, nil)}
	ended := make(chan error, 1)
	go func() { ended <- s.run(context.Background(), dir, c) }()
	draw := func(n int) {
		before := c.Drawn()
		until(t, "more shards", func() bool {
			select {
			case step <- true:
			default:
			}
			return c.Drawn() >= before+n || len(ended) > 0
		})
	}
	for i := range 3 {
		draw(1)
		cluster.lose(i)
		draw(fleet.Takers + 1) // one at least that was not there before
		cluster.start(i)
		until(t, "the server is back", func() bool { return cluster.sound(i) })
	}
	if len(ended) > 0 {
		t.Error("the run was over before all servers were lost")
	}
	close(step)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finished(t, c, workers...)
	equal(t, files(t, dir), files(t, alone))
}

// What a cluster refuses at once while it chooses a leader is asked again for half a minute, and what is wrong never.
func TestAskedAgain(t *testing.T) {
	for _, c := range []struct {
		says    error
		lasts   time.Duration
		least   time.Duration // that it takes
		most    time.Duration
		refused bool
	}{
		{jetstream.ErrNoStreamResponse, 20 * time.Second, 20 * time.Second, 21 * time.Second, false},
		{jetstream.ErrNoStreamResponse, time.Hour, 30 * time.Second, 32 * time.Second, true},
		{jetstream.ErrStreamNotFound, time.Hour, 0, 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			err := fleet.Persist(t.Context(), func() error {
				if time.Since(begun) < c.lasts {
					return fmt.Errorf("put it there: %w", c.says)
				}
				return nil
			})
			if took := time.Since(begun); errors.Is(err, c.says) != c.refused || took < c.least || took > c.most {
				t.Errorf("%v for %v: %v after %v", c.says, c.lasts, err, took)
			}
		})
	}
}

// A cluster of three servers loses one after the other during a run, by their own will.
func TestCluster(t *testing.T) {
	servers := make([]*server.Server, 3)
	losesInTurn(t, newCluster(t, func(i int, config string) {
		var err error
		if servers[i], err = node(config); err != nil {
			t.Fatal(err)
		}
	}, func(i int, _ string) {
		servers[i].Shutdown()
		servers[i].WaitForShutdown()
	}))
}
