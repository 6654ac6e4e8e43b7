package fleet_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// link is a network between a worker and a server, which can fail.
type link struct {
	to     string
	listen net.Listener
	mu     sync.Mutex
	wake   *sync.Cond
	conns  map[net.Conn]bool
	down   bool  // connections end, and are refused
	frozen bool  // nothing moves
	came   int64 // bytes from the server
	most   int64 // of them, after which it is down; 0 for no end
}

func newLink(t testing.TB, address string) *link {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{to: u.Host, conns: map[net.Conn]bool{}}
	l.wake = sync.NewCond(&l.mu)
	if l.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.listen.Close(); l.set(true, false) })
	go func() {
		for {
			c, err := l.listen.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
	return l
}

func (l *link) url() string { return "nats://" + l.listen.Addr().String() }

// set changes how the link is.
func (l *link) set(down, frozen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.frozen = down, frozen
	if down {
		for c := range l.conns {
			c.Close()
		}
		clear(l.conns)
	}
	l.wake.Broadcast()
}

func (l *link) carry(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer b.Close()
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return
	}
	l.conns[a], l.conns[b] = true, true
	l.mu.Unlock()
	ended := make(chan bool, 2)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			io.Copy(way[1], moving{l, way[0], way[0] == b})
			ended <- true
		}()
	}
	<-ended
}

// moving reads what may pass.
type moving struct {
	*link
	net.Conn
	coming bool // from the server
}

func (m moving) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.frozen && !m.down {
		m.wake.Wait()
	}
	if m.coming {
		if m.came += int64(n); m.most > 0 && m.came >= m.most {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// cut ends a link for good when so many bytes have come from the server.
func (l *link) cut(after int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = after
}

// bytes are those that have come from the server.
func (l *link) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came
}
