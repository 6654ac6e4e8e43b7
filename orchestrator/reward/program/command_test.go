//go:build unix

package program

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary is the program under test too: it reads items and does what each says.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "scorer" {
		scorer(os.Args[2:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// scorer answers items {"id": "...", "do": "..."}. It calls the address that is its first
// argument, if any, before it hangs; a second argument is written to standard output at first.
func scorer(args []string) {
	if len(args) > 1 {
		fmt.Println(args[1])
	}
	call := func() {
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			os.Exit(9)
		}
		io.Copy(io.Discard, conn) // until the test hangs up
	}
	in := bufio.NewReader(os.Stdin)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var item struct{ ID, Do string }
		json.Unmarshal(line, &item)
		do, argument, _ := strings.Cut(item.Do, " ")
		switch do {
		case "print":
			fmt.Println(strings.ReplaceAll(argument, `\n`, "\n"))
		case "count": // of items since the start
			fmt.Println(n)
		case "echo":
			fmt.Printf("{\"id\": %q, \"reward\": %s}\n", item.ID, argument)
		case "pid":
			fmt.Println(os.Getpid())
		case "crash":
			fmt.Fprintln(os.Stderr, "Traceback\n  out of", "memory\x1b[31m")
			os.Exit(3)
		case "once": // crashes, if it has not before
			if os.Mkdir(argument, 0o755) == nil {
				os.Exit(4)
			}
			fmt.Println(1)
		case "leave": // answers and ends
			fmt.Println(2)
			os.Exit(0)
		case "hang":
			fmt.Fprintln(os.Stderr, "thinking")
			call()
		case "later": // answers, and writes more when the input has ended
			fmt.Println(3)
			defer fmt.Println(4)
		case "huge":
			fmt.Println(strings.Repeat("1", maxLine+1))
		case "child":
			cmd := exec.Command(os.Args[0], "scorer", args[0])
			in, _ := cmd.StdinPipe()
			cmd.Start()
			io.WriteString(in, `{"do": "hang"}`+"\n")
			fmt.Println(5)
		}
	}
}

func open(t *testing.T, o Options, args ...string) *Command {
	t.Helper()
	line := "'" + os.Args[0] + "' scorer"
	for _, a := range args {
		line += " '" + a + "'"
	}
	o.pause = func(time.Duration) time.Duration { return 0 }
	if o.timeout == nil { // no time is ever over
		o.timeout = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}
	}
	c, err := NewCommand(line, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCommand(t *testing.T) {
	once := filepath.Join(t.TempDir(), "once")
	script := []struct{ do, want string }{
		{"print -1.5", "-1.5"},
		{"print   2e-1  ", "0.2"},
		{`print \n \n7`, "7"},
		{`print {"score": 3, "why": "so"}`, "3"},
		{"echo 4", "4"},
		{`print {"error": "no answer here"}`, "! no answer here"},
		{`print {"error": {"code": 7}}`, `! {"code": 7}`},
		{`print {"error": null, "score": 1}`, "1"},
		{`print {"sense": 1}`, `! neither a "score" nor an "error"`},
		{"print null", "! gave no score"},
		{`print {"score": null}`, "! gave no score"},
		{"print NaN", "! the score is NaN"},
		{"print -inf", "! the score is -inf"},
		{"print 1e999", "! the score is 1e999"},
		{`print {"score": NaN, "why": "NaN\""}`, "! the score is NaN"},
		{`print "0.5"`, `! "\"0.5\"" stands where a number is expected`},
		{"print true", `! "true" stands where`},
		{"count", "18"}, // one process until here: nothing above needed a new one
		{"print very good", `! "very good" stands where a number is expected`},
		{"count", "1"},
		{`print {"id": "p0", "score": 1}`, `! answers to the id "\"p0\"" where`},
		{"count", "1"},
		{"huge", "! a line of more than 1048576 bytes"},
		{"count", "1"},
		{"crash", "! the program ended (exit status 3); its standard error ends with: Traceback\n  out of memory[31m (let it read"},
		{"count", "1"},
		{"once " + once, "1"},
		{"count", "2"},
		{"leave", "2"},
		{"count", "1"},
		{`print 1\n2`, `! several lines for one item: "1" and more`},
		{"count", "1"},
	}
	var do, want []string
	for _, s := range script {
		do, want = append(do, s.do), append(want, s.want)
	}
	want[29] = "! cannot be told from others'" // it came from the process that wrote two lines then
	c := open(t, Options{})
	answers, err := c.Score(t.Context(), jobs(do...))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, answers, want)
	// The process is still there for the next call.
	answers, err = c.Score(t.Context(), jobs("count"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, answers, []string{"2"})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A program that fails for each item is given up: what has a score keeps it, the rest is named,
// and where nothing has one the call fails.
func TestCommandGivesUp(t *testing.T) {
	c := open(t, Options{Workers: 3})
	defer c.Close()
	do := append([]string{"print 1"}, slices.Repeat([]string{"crash"}, 40)...)
	answers, err := c.Score(t.Context(), jobs(do...))
	if err != nil || told(answers[0]) != "1" {
		t.Fatalf("got %v, %v", answers, err)
	}
	skipped := 0
	for _, a := range answers[1:] {
		if a.Err == nil || !strings.Contains(a.Err.Error(), "exit status 3") {
			t.Errorf("got %s", told(a))
		}
		if strings.Contains(a.Err.Error(), "not scored, because of failures before it") {
			skipped++
		}
	}
	if tried := 40 - skipped; tried > 2*crashes+3 {
		t.Errorf("%d items were tried", tried)
	}
	if answers, err = c.Score(t.Context(), jobs(do[1:]...)); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, %v", answers, err)
	}
	// The next call begins anew.
	if answers, err = c.Score(t.Context(), jobs("print 2")); err != nil || told(answers[0]) != "2" {
		t.Errorf("got %v, %v", answers, err)
	}
}

// listener takes the calls of programs that hang.
func listener(t *testing.T) (address string, calls <-chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c <- conn
		}
	}()
	return l.Addr().String(), c
}

func TestCommandTimeout(t *testing.T) {
	address, calls := listener(t)
	var mu sync.Mutex
	var end context.CancelFunc
	c := open(t, Options{timeout: func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		mu.Lock()
		defer mu.Unlock()
		ctx, end = context.WithCancel(ctx)
		return ctx, end
	}}, address)
	go func() {
		for range calls { // when the program hangs, the time is over
			mu.Lock()
			end()
			mu.Unlock()
		}
	}()
	answers, err := c.Score(t.Context(), jobs("print 1", "hang", "print 2"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, answers, []string{"1", "! no answer within 2m0s; its standard error ends with: thinking (it has to answer each line before", "2"})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// No process outlives the call that is cancelled, nor Close, those that the program started
// included.
func TestCommandLeavesNoOrphans(t *testing.T) {
	address, calls := listener(t)
	gone := func(what string, conn net.Conn) {
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil { // returns when the process ends
			t.Errorf("%s: read %d, %v", what, n, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	c := open(t, Options{}, address)
	why := errors.New("enough")
	var child, self net.Conn
	go func() {
		child = <-calls
		self = <-calls
		cancel(why)
	}()
	answers, err := c.Score(ctx, jobs("child", "hang", "print 3"))
	if !errors.Is(err, why) {
		t.Errorf("got %v, %v", answers, err)
	}
	gone("cancelled", self)
	gone("cancelled, child", child)
	if answers, err = c.Score(t.Context(), jobs("child")); err != nil || told(answers[0]) != "5" {
		t.Fatalf("got %v, %v", answers, err)
	}
	child = <-calls
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	gone("closed, child", child)
}

// Workers are processes of their own, and no item is asked for twice.
func TestCommandWorkers(t *testing.T) {
	c := open(t, Options{Workers: 4})
	answers, err := c.Score(t.Context(), jobs(slices.Repeat([]string{"pid"}, 300)...))
	if err != nil {
		t.Fatal(err)
	}
	processes := map[float64]int{}
	for _, a := range answers {
		processes[a.Value]++
	}
	if len(processes) == 0 || len(processes) > 4 {
		t.Errorf("processes and their items: %v", processes)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// A call that waits for a program in use ends with its context.
	c = open(t, Options{})
	s := <-c.slots
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Score(ctx, jobs("pid")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.slots <- s
	c.Close()
}

func TestCommandTry(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		do   []string
		want string
	}{
		{"good", nil, []string{"print 1", `print {"error": "no"}`, "print NaN"}, ""},
		{"banner", []string{"", "model loaded"}, []string{"print 1"}, "model loaded"},
		{"a line too many", nil, []string{"print 1", "later"}, `wrote more lines than it was given: "4"`},
		{"two lines", nil, []string{`print 1\n2`}, "several lines"},
		{"crash", nil, []string{"print 1", "crash"}, "exit status 3"},
		{"leaves", nil, []string{"leave", "print 1"}, "exit status 0"},
	} {
		c := open(t, Options{}, tc.args...)
		err := c.Try(t.Context(), jobs(tc.do...))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		c.Close()
	}
	c := open(t, Options{})
	if answers, err := c.Score(t.Context(), jobs("later")); err != nil || told(answers[0]) != "3" {
		t.Errorf("got %v, %v", answers, err)
	}
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), `more lines than it was given: "4"`) {
		t.Errorf("got %v", err)
	}
}

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		`python3 score.py --x=1`:   {"python3", "score.py", "--x=1"},
		` 'my prog'  a\ b "c \"d"`: {"my prog", "a b", `c "d`},
		`p 'it'"'"'s' "" '' a''b`:  {"p", "it's", "", "", "ab"},
		`p "\d+\\" '\d+\'`:         {"p", `\d+\`, `\d+\`},
		`sh -c 'a | b > $c'`:       {"sh", "-c", "a | b > $c"},
		`p "a|b;" a$ *.txt ~ [x]?`: {"p", "a|b;", "a$", "*.txt", "~", "[x]?"},
		`grep ö\`:                  {"grep", `ö\`},
	} {
		if got, err := words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"":           "names no program",
		" ":          "names no program",
		"a 'b c":     "character 3: the quote ' is not closed",
		"ö | b":      "character 3: there is no shell to act on |",
		`a "$HOME"`:  "character 4: there is no shell that would replace $HOME",
		"a `date`":   "character 3: there is no shell that would replace `date`",
		"a ${B}":     "would replace ${B}",
		"a 2>&1":     "act on >",
		"(a)":        "act on (",
		"a && b; c ": "act on &",
	} {
		if got, err := words(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestCommandIsFoundAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, mode := range map[string]os.FileMode{"plain.py": 0o644, "run.sh": 0o755} {
		if err := os.WriteFile(name, []byte("#!/bin/sh\necho 1\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]string{
		"nowhere-to-be-found a b": "on the search path",
		"run.sh":                  "write ./run.sh",
		"./plain.py":              "make the file executable, or name what runs it",
		"'./run.sh a'":            "leave them out",
		"./run.sh":                "",
	} {
		c, err := NewCommand(line, Options{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
		if err == nil {
			c.Close()
		}
	}
}

// What a program or its files say counts, not where they lie.
func TestCommandFingerprint(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := func(line string) string {
		c, err := NewCommand(line, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Fingerprint()
	}
	a, b, other := file("a.py", "1"), file("b.py", "1"), file("c.py", "2")
	same := key("sh " + a + " --x")
	for _, line := range []string{"sh  '" + a + "' --x", "sh " + b + " --x"} {
		if key(line) != same {
			t.Errorf("%s is another", line)
		}
	}
	seen := map[string]string{same: "sh a.py --x"}
	for _, line := range []string{"sh " + other + " --x", "sh " + a + " --y", "sh " + a, "sh a.py --x", a + " --x", "sh " + a + " --x=" + a, "sh " + a + " --x=" + other, "sh " + a + " --y=" + a} {
		if k := key(line); seen[k] != "" {
			t.Errorf("%s is the same as %s", line, seen[k])
		} else {
			seen[k] = line
		}
	}
	file("a.py", "3")
	if key("sh "+a+" --x") == same {
		t.Error("another content is not noticed")
	}
}
