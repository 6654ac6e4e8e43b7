package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// InviteVariable is the variable of the environment that a worker finds its invitation in: what stands
// on a command line is seen by everybody on the machine.
const InviteVariable = "IVO_INVITE"

// secretsFile lies in the run's folder of the fleet, for its owner alone.
const secretsFile = "secrets.json"

// Secrets are what a worker on another machine needs to get in: a key of its own kind, and the
// fingerprint of the server's self-made certificate.
type Secrets struct {
	Listen string `json:"listen"` // where the server listens: its host as it was named, and the port that it has
	Seed   string `json:"seed"`   // of the workers' nkey
	Cert   []byte `json:"cert"`   // DER
	Key    []byte `json:"key"`    // of the certificate, PKCS 8

	public string
}

// secrets are those of a run, which are made the first time.
func secrets(dir string) (*Secrets, error) {
	s, err := readSecrets(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return newSecrets()
	}
	return s, err
}

// keep writes the secrets down, of a server that listens there, unless that is known.
func (s *Secrets) keep(dir, listen string) error {
	if s.Listen == listen {
		return nil
	}
	s.Listen = listen
	return atomicfile.WritePrivate(filepath.Join(dir, secretsFile), encode(s))
}

func readSecrets(dir string) (*Secrets, error) {
	data, err := os.ReadFile(filepath.Join(dir, secretsFile))
	if err != nil {
		return nil, err
	}
	s := &Secrets{}
	err = json.Unmarshal(data, s)
	if err == nil {
		s.public, err = publicOf(s.Seed)
	}
	if err == nil {
		_, err = x509.ParseCertificate(s.Cert)
	}
	if err == nil && s.server() == nil { // which would listen without TLS
		err = errors.New("the certificate has no key")
	}
	if err != nil { // without a word of what it holds
		return nil, fault.New("fleet", "", nil, "remove it; another one is made, and workers need a new invitation", "%s is damaged", filepath.Join(dir, secretsFile))
	}
	return s, nil
}

func publicOf(seed string) (string, error) {
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return "", errors.New("it is no key")
	}
	return pair.PublicKey()
}

func newSecrets() (*Secrets, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	s := &Secrets{Seed: string(seed)}
	if s.public, err = pair.PublicKey(); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	from := time.Now().Add(-24 * time.Hour) // clocks differ
	of := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: subject}, NotBefore: from, NotAfter: from.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{subject},
	}
	if s.Cert, err = x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key); err != nil {
		return nil, err
	}
	s.Key, err = x509.MarshalPKCS8PrivateKey(key)
	return s, err
}

// server is the server's side of TLS.
func (s *Secrets) server() *tls.Config {
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{s.Cert}, PrivateKey: key}}}
}

func pin(cert []byte) string {
	sum := sha256.Sum256(cert)
	return hex.EncodeToString(sum[:])
}

// Invite is what a worker needs to get in: the seed of its key and the certificate's fingerprint.
type Invite struct{ seed, pin string }

const inviteMark = "ivo1"

// reveal is the invitation as it is handed over.
func (i Invite) reveal() string { return strings.Join([]string{inviteMark, i.seed, i.pin}, ".") }

// String does not tell it: invitations stay out of logs.
func (Invite) String() string   { return "(an invitation)" }
func (Invite) GoString() string { return "(an invitation)" }

// ParseInvite reads an invitation.
func ParseInvite(text string) (Invite, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) == 3 && parts[0] == inviteMark {
		_, err := publicOf(parts[1])
		if sum, bad := hex.DecodeString(parts[2]); err == nil && bad == nil && len(sum) == sha256.Size {
			return Invite{parts[1], parts[2]}, nil
		}
	}
	return Invite{}, fault.New("join", "", nil, "take the line that ivo fleet invite prints, whole", "the invitation in %s is none", InviteVariable)
}

// OwnInvite reads the invitation that the environment has, if any.
func OwnInvite() (Invite, error) {
	if text := os.Getenv(InviteVariable); text != "" {
		return ParseInvite(text)
	}
	return Invite{}, nil
}

// InviteTo is what a worker is started with, for the run in dir, whose machine is known to it as host, or by its
// address if that is empty: the server's, and the invitation, "" where none is needed.
func InviteTo(dir, host string) (url, invitation string, err error) {
	s, err := readSecrets(filepath.Join(dir, run.FleetDir))
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fault.New("invite", "listen", nil, "start the run's ivo iterate with a fleet that has {listen}, such as 0.0.0.0:4822, first", "%s has no fleet that others may join", dir)
	}
	if err != nil {
		return "", "", err
	}
	at, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "", "", err
	}
	if loopback(at) {
		if host != "" && !loopback(host) {
			return "", "", fault.New("invite", "listen", nil, "stop it, and go on with {listen}, such as 0.0.0.0:4822", "%s is reached by its own machine alone, and not as %s", dir, host)
		}
		return "nats://" + s.Listen, "", nil
	}
	if ip := net.ParseIP(at); host == "" && (at == "" || ip != nil && ip.IsUnspecified()) {
		host = ownAddress()
	} else if host == "" {
		host = at
	}
	return "tls://" + net.JoinHostPort(host, port), Invite{s.Seed, pin(s.Cert)}.reveal(), nil
}

// subject is whose the certificates are that runs make for themselves.
const subject = "ivo"

// errUninvited says that a fleet's certificate was met without an invitation, by which alone it is known.
var errUninvited = errors.New("this fleet needs an invitation")

// errOther says that a server is another fleet's.
var errOther = errors.New("the server is not the one that the invitation is to (take a new one from ivo fleet invite)")

// met says whether an error is that of such a certificate.
func met(err error) bool {
	var unknown *tls.CertificateVerificationError
	return errors.As(err, &unknown) && len(unknown.UnverifiedCertificates) > 0 && unknown.UnverifiedCertificates[0].Subject.CommonName == subject
}

func uninvited(op string) error {
	return &fault.Error{Op: op, Err: errUninvited, Hint: "take the line that ivo fleet invite prints for this run: its " + InviteVariable + " is the invitation"}
}

// ownAddress is an address by which others may know this machine.
func ownAddress() string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	host, _ := os.Hostname()
	return host
}

// options are those of a worker's connection.
func (i Invite) options() []nats.Option {
	if i == (Invite{}) {
		return nil
	}
	public, _ := publicOf(i.seed)
	sign := func(nonce []byte) ([]byte, error) {
		pair, err := nkeys.FromSeed([]byte(i.seed))
		if err != nil {
			return nil, errors.New("the invitation's key is damaged")
		}
		return pair.Sign(nonce)
	}
	return []nats.Option{nats.Nkey(public, sign), nats.Secure(&tls.Config{
		MinVersion: tls.VersionTLS13,
		// The certificate is self-made: it is known by its fingerprint, and by nothing else.
		InsecureSkipVerify: true,
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || pin(c.PeerCertificates[0].Raw) != i.pin {
				return errOther
			}
			return nil
		},
	})}
}
