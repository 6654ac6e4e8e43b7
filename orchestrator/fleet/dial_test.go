package fleet_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// password is one with signs that mean something else in an address.
const password = "pa#s:s/w@rd"

// guarded is a server that asks for a password, by TLS or not, and its address at a host, without the rights.
func guarded(t *testing.T, host string, secure *tls.Config) *server.Server {
	t.Helper()
	return started(t, server.Options{Host: host, Username: "me", Password: password, TLSConfig: secure, TLSTimeout: 5})
}

// with is an address of a server with the rights of a user in it.
func with(s *server.Server, scheme, host, password string) string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return (&url.URL{Scheme: scheme, User: url.UserPassword("me", password), Host: net.JoinHostPort(host, port)}).String()
}

// tries has a run, a worker and people ask for a server, and returns what they are told, and what is logged meanwhile.
func tries(t *testing.T, s *small, address string) (errs []error, logs string) {
	t.Helper()
	all := &logged{}
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(all, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	c, err := fleet.Lead(context.Background(), fleet.Options{Dir: filepath.Join(t.TempDir(), "run"), URL: address}, s.w.Model)
	if err == nil {
		c.Close()
	}
	errs = append(errs, err)
	w := s.worker(t, address, func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	if err == nil {
		until(t, "the worker is connected", func() bool { return w.has("waiting for a run") || len(w.ended) > 0 })
		w.stop()
		<-w.ended
	} else {
		errs = append(errs, <-w.ended)
	}
	_, err = fleet.ReadStatus(context.Background(), address, fleet.Invite{})
	all.mu.Lock()
	defer all.mu.Unlock()
	return append(errs, err), all.text.String() + w.text.String()
}

// A server elsewhere is not spoken to in clear, and whatever is wrong with an address, no part of its password is told or logged.
func TestServerElsewhere(t *testing.T) {
	s := newSmall(t)
	far := ""
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			far = n.IP.String()
		}
	}
	plain := guarded(t, "0.0.0.0", nil)
	raw := strings.Replace(with(plain, "nats", "127.0.0.1", "x"), "x@", password+"@", 1)
	for name, tc := range map[string]struct{ address, want string }{
		"in clear, elsewhere": {with(plain, "nats", far, password), "has no TLS"},
		"in clear, and near":  {with(plain, "nats", "127.0.0.1", password), ""},
		"one of two":          {with(plain, "nats", "127.0.0.1", password) + "," + with(plain, "nats", far, password), "has no TLS"},
		"another password":    {with(plain, "nats", "127.0.0.1", password+"!"), "uthorization"},
		"not escaped":         {raw, "the address is none of a server"},
		"no host":             {"nats://me:" + password, "the address is none of a server"},
	} {
		t.Run(name, func(t *testing.T) {
			if far == "" && strings.Contains(tc.want, "TLS") {
				t.Skip("this machine has no address but loopback")
			}
			errs, logs := tries(t, s, tc.address)
			for _, err := range errs[:len(errs)-1] {
				text := ""
				if err != nil {
					text = err.Error()
				}
				if (tc.want == "") != (err == nil) || !strings.Contains(text, tc.want) && !strings.Contains(text, "does not let this worker in") {
					t.Errorf("the error is %v, want %q in it", err, tc.want)
				}
			}
			for _, err := range errs {
				if err != nil {
					logs += err.Error()
				}
			}
			for _, part := range []string{password, url.QueryEscape(password), "pa#s", "s:s", "w@rd", "w%40rd"} {
				if strings.Contains(logs, part) {
					t.Errorf("%q of the password is told: %s", part, logs)
				}
			}
		})
	}
}

// A server of one's own with a certificate that no system knows is reached by a file of such, and no other is.
func TestOwnCertificate(t *testing.T) {
	s := newSmall(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	at := guarded(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	address := with(at, "tls", "127.0.0.1", password)
	if errs, _ := tries(t, s, address); errs[0] == nil || !strings.Contains(errs[0].Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", errs)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(fleet.CAVariable, file)
	if errs, _ := tries(t, s, address); errs[0] != nil {
		t.Errorf("a known certificate: %v", errs)
	}
	t.Setenv(fleet.CredentialsVariable, filepath.Join(t.TempDir(), "none.creds"))
	if errs, _ := tries(t, s, address); errs[0] == nil || !strings.Contains(errs[0].Error(), "none.creds") {
		t.Errorf("credentials that are not there: %v", errs)
	}
}
