//go:build linux

package fleet_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

const soakHeartbeat = 2 * time.Second

// soakRun is a run of shards of one prompt, with a head that is cheap to train.
func soakRun(t testing.TB) *small {
	s := newSmall(t)
	s.read(t, 24, 4)
	s.o.ShardPrompts = 1
	return s
}

// TestPart is no test: it is a program of another's, the coordinator, a worker or a server of a cluster.
func TestPart(t *testing.T) {
	part := os.Getenv("IVO_FLEET_PART")
	if part == "" {
		t.Skip("a program of other tests")
	}
	if part == "node" {
		s, err := node(os.Getenv("IVO_FLEET_DIR"))
		if err != nil {
			t.Fatal(err)
		}
		s.WaitForShutdown() // and before that it is killed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	say := func(text string) { fmt.Println(text) }
	dir := os.Getenv("IVO_FLEET_DIR")
	if part == "worker" {
		o := fleet.WorkerOptions{
			URL: os.Getenv("IVO_FLEET_URL"), Cache: dir, Threads: 1, Say: say, Card: fleet.Card{Build: "a build", CPU: "a kind"},
			Load: func(path string) (*llama.Model, error) { return llama.Load(path, llama.ModelParams{}) },
		}
		var err error
		if text := os.Getenv(fleet.InviteVariable); text != "" {
			if o.Invite, err = fleet.ParseInvite(text); err != nil {
				t.Fatal(err)
			}
		}
		if own := os.Getenv("IVO_FLEET_MODEL"); own != "" {
			if o.Model, err = llama.Load(own, llama.ModelParams{}); err != nil {
				t.Fatal(err)
			}
			defer o.Model.Close()
		}
		if err := fleet.Work(ctx, o); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		return
	}
	s := soakRun(t)
	c, err := fleet.Lead(ctx, fleet.Options{Dir: dir, Listen: os.Getenv("IVO_FLEET_URL"), Heartbeat: soakHeartbeat, Say: say}, s.w.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(ctx, dir, c); err != nil {
		c.Close()
		t.Fatal(err)
	}
	if err := c.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// program is a coordinator or a worker in a process of its own.
type program struct {
	*exec.Cmd
	ended chan error
	past  error
}

// over says whether a program has ended, and how.
func (p *program) over() (bool, error) {
	select {
	case err, first := <-p.ended:
		if first {
			p.past = err
			close(p.ended)
		}
		return true, p.past
	default:
		return false, nil
	}
}

// post is where a worker is: behind a link of its own, in a network namespace or through a proxy.
type post struct {
	space, veth, host string // of the namespace; "" without
	*link
	cache  string
	worker *program
}

// soak is a fleet of processes that is mistreated.
type soak struct {
	t      *testing.T
	dir    string // on a small disk, if the machine allows it
	disk   bool
	listen string
	spaces bool
	lead   *program
	posts  []*post
	rng    *rand.Rand

	mu     sync.Mutex
	said   strings.Builder // by the coordinator and the workers
	counts map[string]int
}

func (s *soak) start(part string, env ...string) *program {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &program{Cmd: exec.Command(self, "-test.run", "^TestPart$", "-test.timeout", "0"), ended: make(chan error, 1)}
	if space := env[0]; space != "" {
		p.Cmd = exec.Command("ip", append([]string{"netns", "exec", space, self}, p.Args[1:]...)...)
	}
	p.Env = append(append(os.Environ(), "IVO_FLEET_PART="+part), env[1:]...)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.Stderr = p.Stdout
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.mu.Lock()
			fmt.Fprintln(&s.said, part+": "+lines.Text())
			s.mu.Unlock()
			if os.Getenv("IVO_FLEET_LOG") != "" {
				fmt.Fprintln(os.Stderr, time.Now().Format("05.000"), part, lines.Text())
			}
		}
		p.ended <- p.Wait()
	}()
	return p
}

func (s *soak) has(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.said.String(), part)
}

// command runs one that sets something up.
func command(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// space makes a network namespace with a link to this one.
func (p *post) makeSpace(i int) error {
	p.space, p.veth, p.host = fmt.Sprint("ivo", os.Getpid(), "-", i), fmt.Sprintf("iv%d-%d", os.Getpid()%100000, i), fmt.Sprintf("10.%d.%d.1", 64+os.Getpid()%128, 10+i)
	inside := p.veth + "i"
	for _, line := range []string{
		"ip netns add " + p.space, "ip link add " + p.veth + " type veth peer name " + inside, "ip link set " + inside + " netns " + p.space,
		"ip addr add " + p.host + "/24 dev " + p.veth, "ip link set " + p.veth + " up", "ip netns exec " + p.space + " ip link set lo up",
		"ip netns exec " + p.space + " ip addr add " + strings.TrimSuffix(p.host, "1") + "2/24 dev " + inside, "ip netns exec " + p.space + " ip link set " + inside + " up",
	} {
		if err := command(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// cut cuts or heals a post's link.
func (p *post) cut(down bool) error {
	if p.space == "" {
		p.link.set(down, false)
		return nil
	}
	return command("ip", "link", "set", p.veth, map[bool]string{true: "down", false: "up"}[down])
}

// hire starts a worker at a post; a model of its own may be given.
func (s *soak) hire(p *post, own string) *program {
	url, invitation, err := fleet.InviteTo(s.dir, p.host)
	if err != nil { // the run may just have ended
		until(s.t, fmt.Sprint("the run is over, for ", err), func() bool { over, _ := s.lead.over(); return over })
		return p.worker
	}
	if p.space == "" {
		url = p.link.url()
	}
	return s.start("worker", p.space, "IVO_FLEET_URL="+url, fleet.InviteVariable+"="+invitation, "IVO_FLEET_DIR="+p.cache, "IVO_FLEET_MODEL="+own)
}

// begin starts the coordinator, and waits until workers can join.
func (s *soak) begin() {
	s.lead = s.start("coordinator", "", "IVO_FLEET_URL="+s.listen, "IVO_FLEET_DIR="+s.dir)
	_, port, _ := net.SplitHostPort(s.listen)
	until(s.t, "the coordinator listens", func() bool {
		if over, _ := s.lead.over(); over {
			return true
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// shards counts the shards that the run has so far.
func (s *soak) shards() int {
	names, _ := filepath.Glob(filepath.Join(s.dir, "iter-*", "trajectories", "*"))
	return len(names)
}

// more waits for another shard, or the end of the run.
func (s *soak) more() {
	before := s.shards()
	until(s.t, "another shard", func() bool { over, _ := s.lead.over(); return over || s.shards() > before })
}

func (s *soak) wait(least, most time.Duration) {
	time.Sleep(least + time.Duration(s.rng.Int64N(int64(most-least)))) // how long a fault lasts
}
