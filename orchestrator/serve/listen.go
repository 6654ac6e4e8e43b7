package serve

import (
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Listen listens on a host and port; port 0 takes a free one. Sockets that systemd passes take their
// place. Others than this machine are let in where clients have to show a key.
func Listen(host string, port int, keyed bool) ([]net.Listener, error) {
	if passed, err := activated(); err != nil || passed != nil {
		return passed, err
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	if !keyed && !loopback(host) {
		return nil, fault.New("", "host", nil, "give keys with {api_key_file}, or listen on 127.0.0.1", "whoever reaches %s could use the server", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &fault.Error{Field: "port", Err: err, Hint: "give another {port}, 0 for a free one"}
	}
	return []net.Listener{l}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// activated are the sockets that systemd has opened for this process (sd_listen_fds): files from number 3 on.
func activated() (out []net.Listener, err error) {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for fd := range n {
		f := os.NewFile(uintptr(3+fd), "systemd")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, &fault.Error{Op: "take systemd's socket", Err: err, Hint: "let the socket unit listen on a stream"}
		}
		out = append(out, l)
	}
	return out, nil
}

// Keys are the API keys of a file, one a line; lines that begin with # say nothing. Without a file it is that
// of the environment, $IVO_API_KEY, if there is one.
func Keys(path string) (keys []string, err error) {
	if path == "" {
		if key := strings.TrimSpace(os.Getenv("IVO_API_KEY")); key != "" {
			return []string{key}, nil
		}
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &fault.Error{Field: "api_key_file", Err: err, Hint: "give a file with a key a line as {api_key_file}"}
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	if keys == nil {
		return nil, fault.New("", "api_key_file", nil, "write a key a line into it", "%s holds no key", path)
	}
	return keys, nil
}
