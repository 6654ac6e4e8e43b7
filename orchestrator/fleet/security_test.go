package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}

// Other machines get in with the invitation to this run and with nothing else, and no secret is logged or told.
func TestInvitation(t *testing.T) {
	all := &logged{}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(all, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	s := newSmall(t)
	dir, other := filepath.Join(t.TempDir(), "fleet"), filepath.Join(t.TempDir(), "other")
	c, told := s.lead(t, dir, fleet.Options{Listen: "0.0.0.0:0"})
	defer c.Close()
	o, _ := s.lead(t, other, fleet.Options{Listen: "0.0.0.0:0"})
	defer o.Close()
	text := func(dir string) string {
		_, invitation, err := fleet.InviteTo(dir, "localhost")
		if err != nil {
			t.Fatal(err)
		}
		return invitation
	}
	address := strings.Replace(c.Address(), "[::]", "127.0.0.1", 1)
	address = strings.Replace(address, "0.0.0.0", "127.0.0.1", 1)
	right, wrong := strings.Split(text(dir), "."), strings.Split(text(other), ".")
	for name, tc := range map[string]struct{ invitation, want string }{
		"none":          {"", "this fleet needs an invitation (take the line that "},
		"of another":    {strings.Join(wrong, "."), "is not the one that the invitation is to"},
		"another's key": {strings.Join([]string{right[0], wrong[1], right[2]}, "."), "does not let this worker in"},
		"its own":       {strings.Join(right, "."), ""},
	} {
		t.Run(name, func(t *testing.T) {
			invite := fleet.Invite{}
			if tc.invitation != "" {
				var err error
				if invite, err = fleet.ParseInvite(tc.invitation); err != nil {
					t.Fatal(err)
				}
			}
			w := s.worker(t, address, func(o *fleet.WorkerOptions) { o.Invite, o.Model = invite, s.w.Model })
			if tc.want == "" {
				if err := c.Draw(context.Background(), s.drawings(2), rollout.Taker{Put: func(int, *rollout.Shard) error { return nil }}); err != nil {
					t.Error(err)
				}
				w.stop()
				<-w.ended
				return
			}
			if err := <-w.ended; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if _, err := fleet.ReadStatus(context.Background(), address, fleet.Invite{}); err == nil || !strings.Contains(err.Error(), "this fleet needs an invitation (") {
		t.Errorf("who asks how it is is told %v", err)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, secret := range []string{right[1], wrong[1]} {
		if strings.Contains(all.text.String(), secret) || told.has(secret) {
			t.Error("a key is told")
		}
	}
	if all.text.Len() == 0 {
		t.Error("nothing is logged")
	}
	for _, bad := range []string{"", "x", "ivo1.a.b", right[0] + "." + right[1], right[0] + "." + right[1] + ".ff"} {
		if _, err := fleet.ParseInvite(bad); err == nil || strings.Contains(err.Error(), right[1]) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
}

// A worker of a run that goes on with TLS where it had none, or without, or of which another takes the place, ends and says so: it would wait in
// vain.
func TestGoesOnOtherwise(t *testing.T) {
	s := newSmall(t)
	for name, tc := range map[string]struct {
		before, after string // addresses
		another       bool   // by another run
		want          string
	}{
		"with TLS":       {"127.0.0.1", "0.0.0.0", false, "this fleet needs an invitation"},
		"without":        {"0.0.0.0", "127.0.0.1", false, "the run goes on without TLS"},
		"of another run": {"0.0.0.0", "0.0.0.0", true, "is not the one that the invitation is to"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "fleet")
			c, _ := s.lead(t, dir, fleet.Options{Listen: tc.before + ":0"})
			_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(c.Address(), "nats://"), "tls://"))
			if err != nil {
				t.Fatal(err)
			}
			var invite fleet.Invite
			if _, text, err := fleet.InviteTo(dir, "localhost"); err != nil {
				t.Fatal(err)
			} else if text != "" {
				if invite, err = fleet.ParseInvite(text); err != nil {
					t.Fatal(err)
				}
			}
			w := s.worker(t, "nats://127.0.0.1:"+port, func(o *fleet.WorkerOptions) { o.Invite, o.Model = invite, s.w.Model })
			ctx, stop := context.WithCancel(context.Background())
			if err := c.Draw(ctx, s.drawings(2), rollout.Taker{Put: func(int, *rollout.Shard) error { stop(); return nil }}); err == nil {
				t.Fatal("all was drawn before it was stopped")
			}
			c.Close()
			if tc.another {
				dir = filepath.Join(t.TempDir(), "another")
			}
			c, _ = s.lead(t, dir, fleet.Options{Listen: tc.after + ":" + port})
			defer c.Close()
			select {
			case err := <-w.ended:
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("it waits still")
			}
		})
	}
}

// The address of an invitation has the port that is bound, and the name that is asked for; of a run that its own machine alone reaches
// there is none for others.
func TestInvitedTo(t *testing.T) {
	s := newSmall(t)
	for listen, tc := range map[string]struct{ host, scheme, want string }{
		"127.0.0.1:0":    {"", "nats://", "127.0.0.1"},
		"localhost:0":    {"127.0.0.1", "nats://", "localhost"},
		"0.0.0.0:0":      {"desk.local", "tls://", "desk.local"},
		"[::ffff:0:0]:0": {"::1", "tls://", "[::1]"},
	} {
		t.Run(listen, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			for range 2 { // the second time it may have another port
				c, _ := s.lead(t, dir, fleet.Options{Listen: listen})
				_, port := hostPort(t, strings.TrimPrefix(c.Address(), tc.scheme))
				if url, _, err := fleet.InviteTo(dir, tc.host); err != nil || url != fmt.Sprintf("%s%s:%d", tc.scheme, tc.want, port) {
					t.Errorf("%s, of a server at %s: %v", url, c.Address(), err)
				}
				if _, _, err := fleet.InviteTo(dir, "desk.local"); (err != nil) != (tc.scheme == "nats://") {
					t.Errorf("for another machine: %v", err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What a stranger sends to the port is nothing that people have to read.
func TestStranger(t *testing.T) {
	s := newSmall(t)
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		t.Run(listen, func(t *testing.T) {
			all := &logged{}
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(all, &slog.HandlerOptions{Level: slog.LevelDebug})))
			defer slog.SetDefault(before)
			c, _ := s.lead(t, filepath.Join(t.TempDir(), "run"), fleet.Options{Listen: listen})
			_, port := hostPort(t, c.Address()[strings.Index(c.Address(), "//")+2:])
			at := fmt.Sprintf("127.0.0.1:%d", port)
			if nc, err := nats.Connect(at); err == nil {
				nc.Close()
			}
			conn, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("GET / critical write error HTTP/1.1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, conn) // until it is hung up on
			until(t, "a word of it", func() bool { return all.has(" - cid:") })
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if all.has("level=WARN") || all.has("level=ERROR") {
				t.Error(all.text.String())
			}
		})
	}
}

// A worker may take shards and store results, and can neither order anything, nor remove what others have stored.
func TestRights(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	denied := make(chan error, 16)
	i := newImpostor(t, c.Address(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	for _, subject := range []string{
		"ivo." + i.run + ".shard." + fleet.Queue(i.model) + ".key.0", "ivo." + i.run + ".over", "$JS.API.STREAM.DELETE.ivo-" + i.run + "-shards", "$JS.API.STREAM.PURGE.OBJ_ivo-" + i.run + "-results",
		"$JS.API.STREAM.CREATE.mine", "$O.ivo-" + i.run + "-files.C.x", "$JS.API.CONSUMER.CREATE.ivo-" + i.run + "-shards.mine", "anything",
	} {
		if err := i.nc.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-denied:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s is allowed", subject)
		}
	}
	if _, err := i.nc.Subscribe("ivo."+i.run+".notice.>", func(*nats.Msg) {}); err == nil {
		i.nc.Flush()
		if err := <-denied; !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
			t.Error(err)
		}
	}
	if _, err := i.js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"mine"}}); err == nil {
		t.Error("a worker can make streams")
	}
}
