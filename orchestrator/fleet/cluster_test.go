package fleet_test

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// cluster is three servers, as people have them who have a cluster.
type cluster struct {
	options []*server.Options
	servers []*server.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	var routes []*url.URL
	for i := range 3 {
		at := freePort(t)
		_, port := hostPort(t, at)
		o := &server.Options{
			ServerName: fmt.Sprint("node", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(t.TempDir(), "node"), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: port},
		}
		_, client := hostPort(t, freePort(t))
		o.Port = client
		routes = append(routes, &url.URL{Scheme: "nats", Host: at})
		c.options, c.servers = append(c.options, o), append(c.servers, nil)
	}
	for i := range 3 {
		c.options[i].Routes = routes
		c.start(t, i)
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	})
	until(t, "a leader", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return c
}

func (c *cluster) start(t testing.TB, i int) {
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		t.Error(err)
		return
	}
	s.Start()
	s.ReadyForConnections(10 * time.Second)
	c.servers[i] = s
}

func (c *cluster) url() (urls string) {
	for i, o := range c.options {
		if i > 0 {
			urls += ","
		}
		urls += fmt.Sprintf("nats://127.0.0.1:%d", o.Port)
	}
	return urls
}

// A cluster of three servers loses one after the other during a run, each of which comes back, and the run is the one that a
// machine draws alone.
func TestCluster(t *testing.T) {
	s := newSmall(t)
	cluster := newCluster(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{URL: cluster.url(), Heartbeat: 5 * time.Second})
	workers := []*worker{s.worker(t, cluster.url(), nil), s.worker(t, cluster.url(), nil)}
	ended := make(chan error, 1)
	go func() { ended <- s.run(context.Background(), dir, c) }()
	over, lost := false, 0
	for i := 0; !over; i = (i + 1) % 3 {
		before := c.Drawn()
		until(t, "another shard", func() bool { return c.Drawn() > before || len(ended) > 0 })
		if over = len(ended) > 0 || lost == 3; over {
			break
		}
		cluster.servers[i].Shutdown()
		cluster.servers[i].WaitForShutdown()
		lost++
		before = c.Drawn()
		until(t, "a shard without a server", func() bool { return c.Drawn() > before || len(ended) > 0 })
		cluster.start(t, i)
		until(t, "the server is back", func() bool { return cluster.servers[i].JetStreamIsCurrent() || len(ended) > 0 })
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finished(t, c, workers...)
	s.same(t, dir)
	if lost < 3 {
		t.Errorf("%d of the servers were lost", lost)
	}
}
