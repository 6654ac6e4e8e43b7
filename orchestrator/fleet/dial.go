package fleet

import (
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// Variables of the environment by which a server is reached that was there already. Rights in an address that stands on a command
// line are seen by everybody on the machine.
const (
	URLVariable         = "IVO_NATS"       // its address, with the rights in it
	CredentialsVariable = "IVO_NATS_CREDS" // a file of NATS credentials, in place of rights in the address
	CAVariable          = "IVO_NATS_CA"    // a file of the certificates by which its own is known, in place of the system's
)

var (
	// errAddress says nothing of the address: what cannot be read may hold a password anywhere.
	errAddress = errors.New("the address is none of a server: those look like nats://HOST:4222, with what is no letter or digit of a password written as %40 and the like")
	errPlain   = errors.New("it has no TLS, so that others could read rights and change results on their way: give it a certificate, or reach it by a tunnel that begins at 127.0.0.1")
)

// dial connects to a server that was there already, by TLS unless it is on this machine.
func dial(address string, o ...nats.Option) (*nats.Conn, error) {
	all, err := addresses(address)
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		if !loopback(u.Hostname()) {
			o = append(o, nats.Secure())
			break
		}
	}
	if file := os.Getenv(CAVariable); file != "" {
		o = append(o, nats.RootCAs(file))
	}
	if file := os.Getenv(CredentialsVariable); file != "" {
		o = append(o, nats.UserCredentials(file))
	}
	nc, err := tryAgain(address, o...)
	if errors.Is(err, nats.ErrSecureConnWanted) {
		err = errPlain
	} else if met(err) {
		err = errUninvited
	}
	return nc, err
}

// tryAgain connects to a server. One that waits long for the hello of a machine that is busy asks meanwhile whether it is there,
// which the client takes for a wrong answer.
func tryAgain(address string, o ...nats.Option) (nc *nats.Conn, err error) {
	for range 10 {
		if nc, err = nats.Connect(address, o...); err == nil || !strings.Contains(err.Error(), "expected 'PONG', got 'PING'") {
			break
		}
		slog.Debug("fleet: connect", "err", err)
	}
	return nc, err
}

// addresses are those of the servers of a cluster, with commas between.
func addresses(text string) (all []*url.URL, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" {
			return nil, errAddress
		}
		all = append(all, u)
	}
	if all == nil {
		return nil, errAddress
	}
	return all, nil
}

// redacted is an address without the rights that it may give.
func redacted(address string) string {
	all, err := addresses(address)
	if err != nil {
		return "an address that is none"
	}
	var out []string
	for _, u := range all {
		out = append(out, u.Scheme+"://"+u.Host)
	}
	return strings.Join(out, ",")
}
