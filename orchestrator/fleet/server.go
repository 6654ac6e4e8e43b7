package fleet

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// DefaultListen is where an embedded server listens: this machine alone can reach it.
const DefaultListen = "127.0.0.1:4822"

// embedded is a server within the coordinator.
type embedded struct {
	*server.Server
	key    nkeys.KeyPair // of the coordinator itself
	open   bool          // to other machines, and so with TLS
	listen string        // the host as it was named, and the port
	// failed tells of a store that takes nothing any more, as when the disk is full: the server goes on without it.
	failed chan string
}

// serve starts a server that keeps its files in dir. Others than this machine need the secrets.
func serve(dir, listen string, run names, s *Secrets) (*embedded, error) {
	host, port, err := split(listen)
	if err != nil {
		return nil, err
	}
	self, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	own, err := self.PublicKey()
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: "ivo-" + string(run), Host: host, Port: port, NoSigs: true, MaxPayload: mostPayload,
		JetStream: true, StoreDir: filepath.Join(dir, "jetstream"), SyncAlways: true, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: math.MaxInt64 / 2, // streams have limits
		MaxConn: 1 << 14, WriteDeadline: 10 * time.Second, PingInterval: 10 * time.Second, MaxPingsOut: 3,
		Nkeys: []*server.NkeyUser{{Nkey: own}},
	}
	if loopback(host) {
		// Whoever is on this machine may work, as a worker and nothing else.
		o.Users = []*server.User{{Username: "worker", Password: nuid.Next(), Permissions: permissions(run)}}
		o.NoAuthUser = "worker"
	} else {
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: s.public, Permissions: permissions(run)})
		o.TLSConfig, o.TLSTimeout = s.server(), 5
	}
	out := &embedded{key: self, open: !loopback(host), failed: make(chan string, 1)}
	if out.Server, err = server.NewServer(o); err != nil {
		return nil, &fault.Error{Op: "start the server", Field: "listen", Err: err, Hint: "give another {listen}"}
	}
	out.SetLogger(logger{out.failed}, false, false)
	// The address is taken beforehand, for the server ends the program where it cannot be.
	l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(max(0, port))))
	if err != nil {
		return nil, &fault.Error{Op: "start the server", Field: "listen", Err: err, Hint: "give another {listen}, or end what listens there"}
	}
	l.Close()
	out.Start()
	if !out.ReadyForConnections(10*time.Second) || !out.JetStreamEnabled() {
		out.Shutdown()
		return nil, &fault.Error{Op: "start the server", Err: fmt.Errorf("its files in %s cannot be opened", dir), Hint: "see that there is room on the disk, and that no other ivo uses the run"}
	}
	_, at, err := net.SplitHostPort(out.Addr().String())
	out.listen = net.JoinHostPort(host, at)
	return out, err
}

// connect is the coordinator's own way in.
func (e *embedded) connect(o ...nats.Option) (*nats.Conn, error) {
	public, err := e.key.PublicKey()
	if err != nil {
		return nil, err
	}
	return tryAgain("", append(o, nats.InProcessServer(e.Server), nats.Nkey(public, e.key.Sign))...)
}

// stop ends the server.
func (e *embedded) stop() {
	e.Shutdown()
	e.WaitForShutdown()
}

// address is where the server listens.
func (e *embedded) address() string {
	scheme := "nats"
	if e.open {
		scheme = "tls"
	}
	return scheme + "://" + e.Addr().String()
}

func split(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = net.LookupPort("tcp", text)
	}
	if err != nil {
		return "", 0, &fault.Error{Op: "start the server", Field: "listen", Err: err, Hint: "give {listen} an address such as 0.0.0.0:4822"}
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// loopback says whether an address can be reached from this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// permissions are what a worker may do: take shards, say how it is, store results and read files.
func permissions(run names) *server.Permissions {
	results, files := "OBJ_"+run.results(), "OBJ_"+run.files()
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			joinSubject, statusSubject, run.subject("ask"), run.subject("room"), run.subject("worker", "*"), run.subject(drawnNotice, "*", "*"), run.subject(scoredNotice, "*", "*"),
			"$JS.API.CONSUMER.INFO." + run.shards() + ".*", "$JS.API.CONSUMER.MSG.NEXT." + run.shards() + ".*", "$JS.ACK." + run.shards() + ".>",
			"$JS.API.STREAM.INFO." + results, "$JS.API.DIRECT.GET." + results + ".>", "$JS.API.STREAM.MSG.GET." + results, "$O." + run.results() + ".>",
			"$JS.API.STREAM.INFO." + files, "$JS.API.DIRECT.GET." + files + ".>", "$JS.API.STREAM.MSG.GET." + files,
			"$JS.API.CONSUMER.CREATE." + files + ".>", "$JS.API.CONSUMER.DELETE." + files + ".*", "$JS.FC." + files + ".>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", run.subject("over")}},
	}
}

// ofConnection is how messages begin that whoever reaches the port may cause: with its address.
var ofConnection = regexp.MustCompile(`^\S+:\d+ - cid:\d+ - `)

// logger writes the server's messages to the log. None of them holds a secret: what the server is told of
// them are public keys.
type logger struct{ failed chan<- string }

func (logger) Noticef(format string, v ...any) { slog.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (logger) Warnf(format string, v ...any)   { slog.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (logger) Fatalf(format string, v ...any)  { slog.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l logger) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if ofConnection.MatchString(text) {
		slog.Debug("nats: " + text)
		return
	}
	slog.Warn("nats: " + text)
	if strings.Contains(format, "critical write error") { // it is said nowhere else
		select {
		case l.failed <- text:
		default:
		}
	}
}
func (logger) Debugf(string, ...any) {}
func (logger) Tracef(string, ...any) {}

// folder makes a folder, and those that it lies in, unless they are there.
func folder(path string, mode fs.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return &fault.Error{Op: "fleet", Field: "out", Err: err, Hint: "give {out} a directory that can be made and written to"}
	}
	return nil
}

// unwritable says that what is under way cannot be written down.
func unwritable(err error) error {
	return &fault.Error{Op: "fleet", Err: err, Hint: "see that there is room on the disk of the run and that you may write to it, and run the same command again, finished work is kept"}
}
