package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// typing runs a chat as on a terminal, where what fails is said and the chat goes on.
func typing(t *testing.T, args []string, do func(t *conversation)) (stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	app := newApp(&out, &log)
	app.Reader = strings.NewReader("")
	app.Command("chat").Action = func(c *cli.Context) (err error) {
		chat, err := readChat(c)
		if err != nil {
			return err
		}
		chat.terminal = true
		if err := chat.open(); err != nil {
			return err
		}
		defer chat.close()
		do(chat)
		return nil
	}
	if err := app.Run(append([]string{"ivo", "chat"}, args...)); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	return out.String(), log.String()
}

// What a command or a message cannot do leaves the conversation as it was.
func TestFailedCommandChangesNothing(t *testing.T) {
	f := lab(t)
	template := `{% for m in messages %}{% if m.role == "system" %}{{ raise_exception("no system here") }}{% endif %}{{ m.content }}{% endfor %}`
	_, log := typing(t, []string{"-m", f.model, "--chat-template", template, "-n", "4", "-s", "1", "-b", "8", "--value-head", f.head}, func(chat *conversation) {
		take := func(text string) {
			if err := chat.take(text); err != nil {
				t.Fatalf("%q ended the chat: %v", text, err)
			}
		}
		take("i found a red lamp.")
		first := chat.Turns()[0]
		// 16 beams do not fit the batch.
		take("/method block-beam")
		if !chat.Alive() || chat.Strategy().Method != "sample" {
			t.Fatalf("method %s, engine %v after one that cannot be", chat.Strategy().Method, chat.Alive())
		}
		take("/system Be brief.")
		take("i sold a hat.")
		take("/retry")
		if len(chat.Turns()) != 1 || chat.Turns()[0] != first {
			t.Errorf("turns %v, want %v alone", chat.Turns(), first)
		}
		take("/system")
		take("/retry")
		if len(chat.Turns()) != 1 || chat.Turns()[0].Message != first.Message || chat.Turns()[0].Response == first.Response {
			t.Errorf("turns %v after a retry of %v", chat.Turns(), first)
		}
	})
	if strings.Count(log, "no system here") != 2 || !strings.Contains(log, "do not fit a batch of 8") {
		t.Errorf("stderr: %s", log)
	}
}

// At temperature 0 there is one token only, which nothing can guide.
func TestOnePassNeedsChoice(t *testing.T) {
	f := lab(t)
	head := t.TempDir() + "/one-pass.gguf"
	for _, args := range [][]string{
		{"ivo", "train", f.run, "--one-pass", "--epochs", "1", "--hidden", "4", "--out", head},
		{"ivo", "generate", "-m", f.model, "-p", "i found", "-n", "4", "--method", "one-pass", "--value-head", head},
	} {
		var stderr bytes.Buffer
		if code := Main(args, io.Discard, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
	}
	var stderr bytes.Buffer
	if code := Main([]string{"ivo", "generate", "-m", f.model, "-p", "i found", "--method", "one-pass", "--value-head", head, "--temp", "0"}, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "raise --temp") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
