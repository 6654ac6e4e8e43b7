package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/testclassifier"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// askings are files of responses to score, each of some prompts with two samples.
func (s *small) askings(m reward.Model, files, prompts int) (out []*batch.Asking) {
	info := m.Info()
	for f := range files {
		a := &batch.Asking{Key: run.Key(info.Fingerprint, f, prompts), Name: fmt.Sprint("file ", f), Reward: info.Name, Fingerprint: info.Fingerprint}
		for p := range prompts {
			for k := range 2 {
				record := s.w.Prompts[p%len(s.w.Prompts)].Record
				record.ID = fmt.Sprint("p", p)
				a.Asked = append(a.Asked, batch.Asked{Item: reward.Item{Prompt: record, Response: strings.Repeat("the film was good ", 1+(f+p+k)%5), Finish: "stop"}, Sample: k})
			}
		}
		out = append(out, a)
	}
	return out
}

func open(t testing.TB, spec string) reward.Model {
	t.Helper()
	m, err := reward.Open(spec, reward.Options{AllowCommands: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// headFile is a reward head on the lab's model, which weighs what it reads.
func headFile(t testing.TB) string {
	t.Helper()
	h := head.Head{Trunk: head.Trunk{Width: 128}, Layers: []head.Layer{{In: 128, Out: 1, Weight: make([]float32, 128), Bias: []float32{1}}}}
	for i := range h.Layers[0].Weight {
		h.Layers[0].Weight[i] = float32(i%7-3) / 10
	}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A worker scores as this machine does, bit for bit, by rules and by models whose files it finds in its own folder or is sent.
func TestScores(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	classifier := filepath.Join(t.TempDir(), "classes.gguf")
	if _, err := testclassifier.BERT(classifier, []string{"bad", "good"}, true, 2); err != nil {
		t.Fatal(err)
	}
	schema := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(schema, []byte(`{"type":"object"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model, o.Models = s.w.Model, []string{filepath.Dir(classifier)} })
	for _, spec := range []string{"gold", "0.3*sentiment + length:7", "head:" + headFile(t) + "@" + lab + "s.gguf", "min(cls:good@" + classifier + ", distinct)", "json:" + schema} {
		t.Run(spec, func(t *testing.T) {
			m := open(t, spec)
			elsewhere := c.Elsewhere(m)
			for _, a := range s.askings(m, 3, 40) {
				want, err := a.Score(context.Background(), m)
				if err != nil {
					t.Fatal(err)
				}
				got, err := elsewhere(context.Background(), a)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	w.stop()
	<-w.ended
}

// Programs and servers are asked by the machine alone on which they were named.
func TestStays(t *testing.T) {
	s := newSmall(t)
	c, told := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	for _, spec := range []string{"cmd:cat", "0.5*sentiment + http://127.0.0.1:1/x"} {
		if c.Elsewhere(open(t, spec)) != nil {
			t.Errorf("%s is asked by workers", spec)
		}
	}
	if !told.has("cmd:cat is asked by the machine alone") {
		t.Error("nobody is told")
	}
}

// Scores that are damaged or of others are named and asked for again, whoever takes responses and does not come back loses
// them, and what no worker can score is left to this machine.
func TestScoresFail(t *testing.T) {
	s := newSmall(t)
	c, told := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{Heartbeat: time.Second})
	defer c.Close()
	m := open(t, "distinct")
	a := s.askings(m, 1, 3)[0]
	want, err := a.Score(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	i := newImpostor(t, c.Address())
	i.queue = fleet.ScoresQueue
	type answer struct {
		scores []batch.Score
		err    error
	}
	ask := func(m reward.Model, a *batch.Asking) chan answer {
		elsewhere, out := c.Elsewhere(m), make(chan answer, 1)
		go func() {
			scores, err := elsewhere(context.Background(), a)
			out <- answer{scores, err}
		}()
		return out
	}
	results, err := i.js.ObjectStore(context.Background(), "ivo-"+i.run+"-results")
	if err != nil {
		t.Fatal(err)
	}
	answered := ask(m, a)
	lie := func(object string) {
		msg, key := i.next(t)
		i.tell(t, key, fmt.Sprintf(`,"object":%q,"bytes":1`, object))
		if err := msg.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	lie("nothing")
	if _, err := results.PutString(context.Background(), "rubbish.1", "rubbish"); err != nil {
		t.Fatal(err)
	}
	lie("rubbish.1")
	i.next(t) // and nothing is heard of it
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	if got := <-answered; got.err != nil || cmp.Diff(want, got.scores) != "" {
		t.Errorf("%v", got)
	}
	for _, part := range []string{"its scores are not there", "its scores cannot be read"} {
		if !told.has(part) {
			t.Errorf("nobody is told %q", part)
		}
	}
	// A file that is not there any more can be sent to nobody.
	file := headFile(t)
	m = open(t, "head:"+file+"@"+lab+"s.gguf")
	elsewhere := c.Elsewhere(m)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere(context.Background(), s.askings(m, 1, 1)[0]); !errors.Is(err, batch.ErrHere) {
		t.Errorf("the error is %v", err)
	}
	if !told.has("draws and does not score") {
		t.Error("nobody is told that a worker cannot score")
	}
	w.stop()
	<-w.ended
	// Nobody is there any more.
	m = open(t, "sentiment")
	a = s.askings(m, 1, 1)[0]
	a.Key += "1"
	if got := <-ask(m, a); !errors.Is(got.err, batch.ErrHere) {
		t.Errorf("%v", got)
	}
}
