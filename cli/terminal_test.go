//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/term"

	"github.com/ivo-decoding/ivo/llama"
)

// console is a program on a terminal, and who sits there.
type console struct {
	*testing.T
	tty   *os.File // the end of who sits there
	slave *os.File // the program's end
	cmd   *exec.Cmd
	all   []byte      // that the program has shown
	seen  int         // of it
	was   *term.State // of the terminal, before the program
	ended chan ending
	leave *os.File // closed when nothing more is to be read
}

// ending is how a program ended, and the terminal's state after it.
type ending struct {
	code  string
	state *term.State
}

// lead runs its arguments as a program that does not lead its session. A terminal is hung up when the
// leader ends, and what the program has shown last is lost where the kernel has not passed it on yet: so
// the leader stays until all is read. It writes the exit code to file 3, and file 4 ends when it is to go.
func lead() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		os.Exit(1)
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM { // the terminal sends Ctrl-C to both
				cmd.Process.Signal(s)
			}
		}
	}()
	cmd.Wait()
	code, leave := os.NewFile(3, "code"), os.NewFile(4, "leave")
	fmt.Fprint(code, cmd.ProcessState.ExitCode())
	code.Close()
	io.Copy(io.Discard, leave)
}

func init() { programs["lead"] = lead }

// sit starts a program on a terminal of its own.
func sit(t *testing.T, args ...string) *console {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminal:", err)
	}
	t.Cleanup(func() { master.Close() })
	pty.Setsize(slave, &pty.Winsize{Rows: 24, Cols: 120})
	c := &console{T: t, tty: master, slave: slave, cmd: exec.Command("lead", args...), ended: make(chan ending, 1)}
	if c.was, err = term.GetState(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.Env = append(os.Environ(), "TERM=xterm")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return c
}

func (c *console) start() *console {
	c.Helper()
	code, codeOf, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	leave, stay, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	c.cmd.ExtraFiles, c.leave = []*os.File{codeOf, leave}, stay
	if err := c.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	codeOf.Close()
	leave.Close()
	c.Cleanup(func() {
		stay.Close()
		c.cmd.Wait()
		c.slave.Close()
	})
	go func() {
		defer code.Close()
		text, _ := io.ReadAll(code)
		state, _ := term.GetState(int(c.slave.Fd()))
		c.tty.SetReadDeadline(time.Now().Add(time.Minute)) // who waits for more waits in vain
		c.ended <- ending{string(text), state}
	}()
	return c
}

// await reads until a text is shown, and returns what was before it.
func (c *console) await(text string) string {
	c.Helper()
	for {
		if before, _, ok := bytes.Cut(c.all[c.seen:], []byte(text)); ok {
			c.seen += len(before) + len(text)
			return string(before)
		}
		var buf [4096]byte
		n, err := c.tty.Read(buf[:])
		if err != nil {
			c.Fatalf("%v: %q is not in %q", err, text, c.all[c.seen:])
		}
		c.all = append(c.all, buf[:n]...)
	}
}

// press types keys, by what a terminal sends for them.
func (c *console) press(keys string) {
	c.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.Fatal(err)
	}
}

// end waits for the end of the program, which leaves the terminal as it was.
func (c *console) end(code int) {
	c.Helper()
	e := <-c.ended
	if want := strconv.Itoa(code); e.code != want {
		c.Errorf("exit code %s, want %s, after %q", e.code, want, c.all)
	}
	if !reflect.DeepEqual(e.state, c.was) {
		c.Errorf("the terminal is left as %v, not %v", e.state, c.was)
	}
}

// speaker is a model that answers everything with a text.
func speaker(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "speaker.gguf")
	if err := remake(lab(t).model, path, saying(text)); err != nil {
		t.Fatal(err)
	}
	return path
}

const contents = "{% for m in messages %}{{ m.content }}|{% endfor %}"

// A chat as a person has it: keys edit, what is pasted is one message, Ctrl-C drops what was typed and
// ends at last, and what the model says cannot command the terminal.
func TestChatOnTerminal(t *testing.T) {
	const answer = "\x1b[2J\u009b\r\nhi" // U+009B is an ESC [ in one
	saved := filepath.Join(t.TempDir(), "chat.json")
	c := sit(t, "ivo", "chat", "-m", speaker(t, answer), "--chat-template", contents).start()
	c.await("> ")
	c.press("hello wrld\x1b[D\x1b[D\x1b[Do\r")
	c.await("\r\n\x1b[?2004l")
	if got, want := c.await("\r\n\x1b[?2004h> "), "\uFFFD[2J\uFFFD\r\nhi"; got != want {
		t.Errorf("the answer is shown as %q, not %q", got, want)
	}
	c.press("dropped\x03")
	c.await("dropped")
	c.await("^C\r\n")
	c.await("> ")
	c.press("\x1b[200~one\ntwo\r\nthree\x1b[201~")
	c.await("one↵two↵three")
	c.press("\r")
	c.await("hi\r\n")
	c.await("> ")
	c.press("\x1b[A\x1b[D\x7fE\r") // the same again, changed
	c.await("hi\r\n")
	c.await("> ")
	c.press("and \\\r")
	c.await("… ")
	c.press("more\r")
	c.await("hi\r\n")
	c.await("> ")
	c.press("/save " + saved + "\r")
	c.await("(written to ")
	c.await("> ")
	c.press("\x03")
	c.await("once more")
	c.await("> ")
	c.press("/undo\r") // it was meant otherwise
	c.await("> ")
	c.press("\x03")
	c.await("once more")
	c.await("> ")
	c.press("\x03")
	c.end(0)

	data, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	var messages []llama.Message
	if err := json.Unmarshal(data, &messages); err != nil {
		t.Fatal(err)
	}
	var want []llama.Message
	for _, text := range []string{"hello world", "one\ntwo\nthree", "one\ntwo\nthrEe", "and \nmore"} {
		want = append(want, llama.Message{Role: "user", Content: text}, llama.Message{Role: "assistant", Content: answer})
	}
	if diff := cmp.Diff(want, messages); diff != "" {
		t.Error(diff)
	}
}

// Ctrl-C stops an answer, and no more.
func TestStopAnswer(t *testing.T) {
	c := sit(t, "ivo", "chat", "-m", endless(t, lab(t).model), "--chat-template", contents, "-c", "20000", "-n", "19000").start()
	c.await("> ")
	c.press("x\r")
	c.await("x\r\n")
	c.await(" ") // the model has begun
	c.press("\x03")
	c.await("(stopped)")
	c.await("> ")
	c.press("\x04")
	c.end(0)
}

// Where no line can be edited, Ctrl-C does the same but for what is typed, which the terminal drops.
func TestChatOnDumbTerminal(t *testing.T) {
	c := sit(t, "ivo", "chat", "-m", speaker(t, "hi"), "--chat-template", contents)
	c.cmd.Env = append(c.cmd.Env, "TERM=dumb")
	c.start()
	c.await("> ")
	c.press("x\n")
	c.await("hi\r\n> ")
	c.press("dropped\x03")
	c.await("once more")
	c.await("> ")
	c.press("y\n")
	c.await("hi\r\n> ")
	c.press("\x03")
	c.await("> ")
	c.press("\x03")
	c.end(0)
	if strings.Contains(string(c.all), "\x1b") {
		t.Errorf("%q", c.all)
	}
}

// A chat that is ended from elsewhere leaves the terminal as it was too.
func TestChatTerminated(t *testing.T) {
	c := sit(t, "ivo", "chat", "-m", speaker(t, "hi"), "--chat-template", contents).start()
	c.await("> ")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.await("stopped by signal")
	c.end(128 + int(syscall.SIGTERM))
}

// Text for a terminal is made harmless, and bytes for a program are left alone.
func TestGeneratedControls(t *testing.T) {
	model, prompts := speaker(t, "\x1b[2J\u009bhi"), filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(prompts, []byte(`{"prompt": "x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	c := sit(t, "ivo", "generate", "-m", model, "-p", "x").start()
	if got := c.await("hi\r\n"); got != "\uFFFD[2J\uFFFD" {
		t.Errorf("shown: %q", got)
	}
	c.end(0)
	for _, args := range [][]string{{"-p", "x", "--json"}, {"--prompts", prompts}} {
		c := sit(t, append([]string{"ivo", "generate", "-m", model, "--temp", "0"}, args...)...).start()
		c.await(`\u001b[2J` + "\uFFFD" + `hi"`) // JSON leaves the second one as it is
		c.await("}\r\n")
		c.end(0)
	}
	out, err := exec.Command("ivo", "generate", "-m", model, "-p", "x").Output()
	if err != nil || string(out) != "\x1b[2J\u009bhi\n" {
		t.Errorf("%q: %v", out, err)
	}
}
