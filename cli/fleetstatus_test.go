//go:build unix

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// saysIvo runs ivo, and returns what it prints and its exit code.
func saysIvo(t *testing.T, env []string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("ivo", args...)
	cmd.Env = append(os.Environ(), env...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// waiting starts a run that a fleet is to draw, has it wait for workers, and interrupts it when it has been looked at.
func waiting(t *testing.T, dir, listen, url string, env func() []string, look func(live string), more ...string) {
	t.Helper()
	f := lab(t)
	args := f.iterate(dir, append([]string{"-n", "12", "--samples", "3", "--fleet", "--listen", listen}, more...)...)
	cmd := exec.Command(args[0], args[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGINT)
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
		}
	}()
	for range 600 {
		if live, code := saysIvo(t, env(), "fleet", "status", "--nats", url); code == 0 && strings.Contains(live, " of 4 shards") {
			look(live)
			return
		}
		time.Sleep(50 * time.Millisecond) // polls, and asserts nothing by time
	}
	t.Error("nothing is told of the run")
}

// ivo fleet status tells who drew a run that is finished, how one is that is under way, and of both that they are mixed; ivo fleet
// invite prints the line by which workers get in, whose invitation opens the server to other verbs too.
func TestFleetStatusAndInvite(t *testing.T) {
	f := lab(t)
	dir := filepath.Join(t.TempDir(), "run")
	if out, code := saysIvo(t, nil, f.iterate(dir, "-n", "12")[1:]...); code != 0 {
		t.Fatal(out)
	}
	if out, code := saysIvo(t, nil, "fleet", "status", dir); code != 1 || !strings.Contains(out, "is not known") {
		t.Errorf("of a lone run, %d: %s", code, out)
	}
	if out, code := saysIvo(t, nil, "fleet", "invite", dir); code != 1 || !strings.Contains(out, "has no fleet that others may join") {
		t.Errorf("to a lone run, %d: %s", code, out)
	}
	for _, args := range [][]string{{"fleet", "status"}, {"fleet", "invite"}} {
		if out, code := saysIvo(t, []string{fleet.URLVariable + "="}, args...); code != 2 {
			t.Errorf("%v, %d: %s", args, code, out)
		}
	}
	record := "workers:\n- {name: desk-A1B2, cores: 8, build: b11434, cpu: \"NEON\\e[2J\", shards: 7, tokens: 900, seconds: 30}\n- {name: lap-C3D4, cores: 4, build: b11434, cpu: AVX2, scored: 3}\nmixed: true\ndrawn: {iter-01/trajectories/0000.jsonl.zst: desk-A1B2}\n"
	if err := os.WriteFile(filepath.Join(dir, run.FleetFile), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := saysIvo(t, nil, "fleet", "status", dir); code != 0 || !strings.Contains(out, "desk-A1B2  8      7") || !strings.Contains(out, "lap-C3D4   4      0       3") || !strings.Contains(out, report.MixedFleet) || strings.Contains(out, "\x1b") {
		t.Errorf("%d: %q", code, out)
	}
	if out, code := saysIvo(t, nil, "score", dir, "--reward", "length:5"); code != 0 {
		t.Error(out)
	}
	if out, code := saysIvo(t, nil, "fleet", "status", dir); code != 0 || !regexp.MustCompile(`\(the run's own\) +\d+ +0 +[1-9]`).MatchString(out) {
		t.Errorf("that this machine has scored is not told, %d: %s", code, out)
	}

	listen := freeAddress(t)
	near := func() []string { return nil }
	waiting(t, dir, listen, "nats://"+listen, near, func(live string) {
		if !strings.Contains(live, report.MixedFleet) {
			t.Errorf("that it is mixed is not told: %s", live)
		}
		if out, code := saysIvo(t, nil, "fleet", "invite", dir); code != 0 || !strings.HasPrefix(out, "(on the run's own machine alone: ") || !strings.HasSuffix(out, ")\nivo worker --nats nats://"+listen+"\n") {
			t.Errorf("%d: %s", code, out)
		}
		if out, code := saysIvo(t, nil, "fleet", "invite", "--host", "desk.local", dir); code != 1 || !strings.Contains(out, "go on with --listen, such as 0.0.0.0:4822") {
			t.Errorf("for another machine, %d: %s", code, out)
		}
	})

	_, port, _ := strings.Cut(freeAddress(t), ":")
	form := regexp.MustCompile(`^(IVO_INVITE=ivo1\.\S+) ivo worker --nats (tls://127\.0\.0\.1:` + port + `)\n$`)
	invited := func() []string {
		out, _ := saysIvo(t, nil, "fleet", "invite", "--host", "127.0.0.1", dir)
		return form.FindStringSubmatch(out)
	}
	with := func() []string {
		if parts := invited(); parts != nil {
			return parts[1:2]
		}
		return nil
	}
	url := "tls://127.0.0.1:" + port
	waiting(t, dir, "0.0.0.0:"+port, url, with, func(string) {
		if invited() == nil {
			t.Error("the invitation has another form")
		}
		if out, code := saysIvo(t, nil, "fleet", "status", "--nats", url); code != 1 || !strings.Contains(out, "this fleet needs an invitation") {
			t.Errorf("without an invitation, %d: %s", code, out)
		}
		if out, code := saysIvo(t, []string{with()[0], fleet.URLVariable + "=" + url}, "fleet", "status"); code != 0 {
			t.Errorf("with the address in the environment, %d: %s", code, out)
		}
	})
}

// What the run's own server may keep is people's to say: workers are told how much of it a result may take. What they say of
// themselves does nothing to a terminal.
func TestFleetStore(t *testing.T) {
	f := lab(t)
	dir, listen := filepath.Join(t.TempDir(), "run"), freeAddress(t)
	waiting(t, dir, listen, "nats://"+listen, func() []string { return nil }, func(string) {
		nc, err := nats.Connect("nats://" + listen)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		m, err := nc.Request("ivo.join", []byte(`{"protocol":2,"worker":"w","host":"a\u001b[2Jhost"}`), 10*time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"most":8388608`) {
			t.Errorf("%v: %s", err, m.Data)
		}
		if out, code := saysIvo(t, nil, "fleet", "status", "--nats", "nats://"+listen); code != 0 || !strings.Contains(out, "[2Jhost-w") || strings.Contains(out, "\x1b") {
			t.Errorf("%d: %q", code, out)
		}
	}, "--store", "0.0625")
	for _, more := range [][]string{{"--store", "1"}, {"--fleet", "--store", "0"}, {"--fleet", "--store", "NaN"}, {"--fleet", "--store", "1e9"}, {"--fleet", "--store", "1", "--nats", "nats://" + listen}} {
		if out, code := saysIvo(t, nil, f.iterate(dir, more...)[1:]...); code != 2 || !strings.Contains(out, "--store") {
			t.Errorf("%v, %d: %s", more, code, out)
		}
	}
}
