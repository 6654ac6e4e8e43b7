//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

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
	all   []byte           // that the program has shown
	seen  int              // of it
	was   *term.State      // of the terminal, before the program
	ended chan *term.State // after it
}

// sit starts a program on a terminal of its own.
func sit(t *testing.T, args ...string) *console {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminal:", err)
	}
	t.Cleanup(func() { master.Close() })
	pty.Setsize(slave, &pty.Winsize{Rows: 24, Cols: 120})
	c := &console{T: t, tty: master, slave: slave, cmd: exec.Command(args[0], args[1:]...), ended: make(chan *term.State, 1)}
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
	if err := c.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { c.cmd.Process.Kill() })
	go func() {
		c.cmd.Wait()
		state, _ := term.GetState(int(c.slave.Fd()))
		c.slave.Close() // so that reading ends
		c.ended <- state
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
	state := <-c.ended
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.Errorf("exit code %d, want %d, after %q", got, code, c.all)
	}
	if !reflect.DeepEqual(state, c.was) {
		c.Errorf("the terminal is left as %v, not %v", state, c.was)
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
