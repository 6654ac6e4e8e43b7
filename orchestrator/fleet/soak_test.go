//go:build linux

package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// faults are what is done to a fleet, by name, and what people are told of it.
var faults = []struct {
	name, told string
	do         func(s *soak, p *post)
}{
	{"killed", "has not been heard of", func(s *soak, p *post) {
		p.worker.Process.Kill()
		s.wait(soakHeartbeat, 2*soakHeartbeat)
		p.worker = s.hire(p, "")
	}},
	{"frozen", "has not been heard of", func(s *soak, p *post) {
		p.worker.Process.Signal(syscall.SIGSTOP)
		s.wait(soakHeartbeat*3/2, 2*soakHeartbeat)
		p.worker.Process.Signal(syscall.SIGCONT)
	}},
	{"cut off", "has not been heard of", func(s *soak, p *post) {
		if err := p.cut(true); err != nil {
			s.t.Error(err)
		}
		s.wait(time.Second, 3*soakHeartbeat)
		if err := p.cut(false); err != nil {
			s.t.Error(err)
		}
	}},
	{"handed back", "leaves", func(s *soak, p *post) {
		p.worker.Process.Signal(os.Interrupt)
		until(s.t, "the worker leaves", func() bool { over, _ := p.worker.over(); return over })
		p.worker = s.hire(p, "")
	}},
	{"server killed", "connection to the run is lost", func(s *soak, _ *post) {
		s.lead.Process.Kill()
		until(s.t, "the coordinator ends", func() bool { over, _ := s.lead.over(); return over })
		s.wait(100*time.Millisecond, 2*soakHeartbeat)
		s.begin()
	}},
	{"server stopped", "connection to the run is lost", func(s *soak, _ *post) {
		s.lead.Process.Signal(os.Interrupt)
		until(s.t, "the coordinator ends", func() bool { over, _ := s.lead.over(); return over })
		if s.lead.past != nil {
			s.begin()
		}
	}},
	{"disk filled", "no space left", func(s *soak, _ *post) {
		if !s.disk {
			return
		}
		ballast := filepath.Join(filepath.Dir(s.dir), "ballast")
		f, err := os.Create(ballast)
		if err != nil {
			s.t.Fatal(err)
		}
		for b := make([]byte, 1<<12); err == nil; {
			_, err = f.Write(b)
		}
		f.Close()
		for range 300 { // it notices when it writes
			if over, _ := s.lead.over(); over {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		os.Remove(ballast)
		if over, _ := s.lead.over(); !over {
			s.count("disk filled, and not noticed")
			return
		}
		if s.lead.past != nil {
			s.begin()
		}
	}},
	{"two workers with a shard", "is dropped", func(s *soak, p *post) {
		// What a frozen worker has in hand is given to another, and handed in by both.
		for range 10 {
			if over, _ := s.lead.over(); over || s.has("is dropped") {
				return
			}
			p.worker.Process.Signal(syscall.SIGSTOP)
			s.wait(soakHeartbeat*3/2, 2*soakHeartbeat)
			p.worker.Process.Signal(syscall.SIGCONT)
			s.more()
		}
	}},
	{"another model of the name", "is another model than the run's", func(s *soak, p *post) {
		w := s.hire(p, filepath.Join(p.cache, "other", "summarize-s.gguf"))
		until(s.t, "it is refused", func() bool {
			over, _ := w.over()
			lead, _ := s.lead.over()
			return over || lead
		})
		w.Process.Kill()
	}},
	{"damaged", "its result is damaged", func(s *soak, p *post) { s.lie(p) }},
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// lie takes orders and hands in rubbish, until that is not taken any more.
func (s *soak) lie(p *post) {
	url, invitation, err := fleet.InviteTo(s.dir, "127.0.0.1")
	if err != nil {
		return // the run is over
	}
	var invite fleet.Invite
	if invitation != "" {
		if invite, err = fleet.ParseInvite(invitation); err != nil {
			s.t.Fatal(err)
		}
	}
	i, err := tryImpostor(url, invite.Options()...)
	if err != nil {
		return
	}
	defer i.nc.Close()
	results, err := i.js.ObjectStore(context.Background(), "ivo-"+i.run+"-results")
	if err != nil {
		return
	}
	consumer, err := i.js.Consumer(context.Background(), "ivo-"+i.run+"-shards", fleet.Queue(i.model))
	if err != nil {
		return
	}
	for k := 0; k < 3; {
		m, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if over, _ := s.lead.over(); over {
			return
		}
		if err != nil {
			continue
		}
		key := strings.Split(m.Subject(), ".")[4]
		object := fmt.Sprintf("%s.impostor%d", key, k)
		results.PutString(context.Background(), object, "rubbish")
		i.publish(key, fmt.Sprintf(`,"object":%q,"bytes":7`, object))
		m.Ack()
		k++
	}
}

// A run whose workers are killed, frozen beyond their heartbeat, cut off, sent away, doubled, false and damaged, and whose
// server is killed, stopped and without room on its disk is the run that a machine draws alone, and people are told of every
// fault. IVO_SOAK says for how long, or "once" for each fault once; IVO_FLEET_SEED which ones.
func TestSoak(t *testing.T) {
	if os.Getenv("IVO_SOAK") == "" {
		t.Skip("takes minutes: make soak, or make soak-fleet; TestFaults is its short form")
	}
	length, _ := time.ParseDuration(os.Getenv("IVO_SOAK"))
	var seed uint64 = 1
	fmt.Sscan(os.Getenv("IVO_FLEET_SEED"), &seed)
	root := t.TempDir()
	s := &soak{t: t, rng: rand.New(rand.NewPCG(seed, 0)), counts: map[string]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			text := s.said.String()
			t.Log(text[max(0, len(text)-8000):])
		}
	})
	disk := filepath.Join(root, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if s.disk = command("mount", "-t", "tmpfs", "-o", "size=48m", "ivo", disk) == nil; s.disk {
		t.Cleanup(func() {
			if err := command("umount", "-l", disk); err != nil {
				t.Error(err)
			}
		})
	} else {
		t.Log("no disk can be mounted here: it is not filled")
	}
	_, port := hostPort(t, freePort(t))
	for i := range 3 {
		s.posts = append(s.posts, &post{cache: filepath.Join(root, fmt.Sprint("cache", i))})
	}
	s.spaces = true
	for i, p := range s.posts {
		err := p.makeSpace(i)
		t.Cleanup(func() {
			command("ip", "link", "del", p.veth)
			command("ip", "netns", "del", p.space)
		})
		if err != nil {
			t.Log("no network namespaces here, workers are behind proxies: ", err)
			s.spaces = false
			break
		}
	}
	s.listen = fmt.Sprint("0.0.0.0:", port)
	if !s.spaces {
		s.listen = fmt.Sprint("127.0.0.1:", port)
		for _, p := range s.posts {
			p.space, p.host, p.link = "", "", newLink(t, "nats://"+s.listen)
		}
	}
	for _, p := range s.posts {
		other(t, filepath.Join(p.cache, "other", "summarize-s.gguf"))
	}
	alone := filepath.Join(root, "alone")
	lone := soakRun(t)
	if err := lone.run(context.Background(), alone, nil); err != nil {
		t.Fatal(err)
	}
	want := files(t, alone)
	todo := make([]int, len(faults)) // in the short form
	for i := range todo {
		todo[i] = i
	}
	begun := time.Now()
	runs, happened := 0, 0
	for ; length == 0 && len(todo) > 0 || time.Since(begun) < length || runs == 0; runs++ {
		s.dir = filepath.Join(disk, "run")
		s.begin()
		for _, p := range s.posts {
			p.worker = s.hire(p, "")
		}
		for {
			s.more()
			if over, err := s.lead.over(); over {
				if err == nil {
					break
				}
				t.Fatalf("the coordinator ended: %v", err)
			}
			var fault int
			switch {
			case length > 0:
				fault = s.rng.IntN(len(faults))
			case len(todo) == 0:
				until(t, "the end", func() bool { over, _ := s.lead.over(); return over })
				continue
			default:
				fault, todo = todo[0], todo[1:]
			}
			f := faults[fault]
			s.count(f.name)
			happened++
			f.do(s, s.posts[s.rng.IntN(len(s.posts))])
		}
		for _, p := range s.posts {
			p.cut(false)
			p.worker.Process.Kill()
		}
		got := files(t, s.dir)
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("run %d: %s differs: %d bytes, alone %d", runs, name, len(got[name]), len(want[name]))
			}
			delete(got, name)
		}
		for name := range got {
			t.Errorf("run %d: %s is there, and was not alone", runs, name)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
	}
	for _, f := range faults {
		if s.counts[f.name] > 0 && !s.has(f.told) && (s.disk || f.name != "disk filled") {
			t.Errorf("%d times %s, and nobody is told that a worker or shard %q", s.counts[f.name], f.name, f.told)
		}
	}
	t.Logf("%d runs of %d files in %v, %d faults in namespaces %v: %v; dropped %d", runs, len(want), time.Since(begun).Round(time.Second), happened, s.spaces, s.counts, strings.Count(s.said.String(), "is dropped"))
}
