package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// frail is a reward, the length of a response, that fails where it is told to.
type frail struct {
	fingerprint string
	asked       map[string]int              // how often, by response
	item        func(response string) error // of one item
	call        func(n int) error           // of the n-th call, from 1 on
	calls       int
}

func (f *frail) Info() reward.Info { return reward.Info{Name: "frail", Fingerprint: f.fingerprint} }

func (f *frail) Close() error { return nil }

func (f *frail) Score(_ context.Context, items []reward.Item) ([]reward.Score, error) {
	if f.calls++; f.call != nil {
		if err := f.call(f.calls); err != nil {
			return nil, err
		}
	}
	var out []reward.Score
	for _, it := range items {
		if f.asked[it.Response]++; f.item != nil && f.item(it.Response) != nil {
			out = append(out, reward.Score{Err: f.item(it.Response)})
			continue
		}
		out = append(out, reward.Score{Value: float64(len(it.Response))})
	}
	return out, nil
}

// Every response is scored once, whatever fails meanwhile, and those that are not are named.
func TestScorer(t *testing.T) {
	const n = 150
	d, err := run.Open(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var responses []batch.Response
	records := map[string]prompt.Record{}
	for i := range n {
		id := fmt.Sprint("p", i/2)
		records[id] = prompt.Record{ID: id}
		responses = append(responses, batch.Response{Prompt: id, Sample: i % 2, Text: strings.Repeat("x", i)})
	}
	name := run.Trajectories(1, run.Shard{})
	if err := run.PutLines(d, name, "decoded", nil, nil, responses); err != nil {
		t.Fatal(err)
	}
	m := &frail{fingerprint: "1", asked: map[string]int{}}
	s := &batch.Scorer{Dir: d, Model: m, Records: records, Save: 1}
	score := func() ([]batch.Score, batch.Unscored, error) {
		t.Helper()
		return s.File(t.Context(), name)
	}

	down := errors.New("the server is down")
	to := d.Path(run.Scores(s.Folder(), name))
	m.call = func(call int) error {
		if call == 1 {
			return nil
		}
		// What has been said is kept by now, for a kill is not told of.
		if _, kept, err := run.Lines[batch.Score](to); err != nil || len(kept) != n || kept[63].Reward == nil || kept[64].Reward != nil {
			t.Errorf("after the first part: %v", err)
		}
		return down
	}
	if _, _, err := score(); !errors.Is(err, down) {
		t.Fatalf("a reward that fails as a whole: %v", err)
	}
	m.call = nil
	m.item = func(response string) error {
		if len(response)%10 == 7 {
			return errors.New("a seven")
		}
		return nil
	}
	_, left, err := score()
	if err != nil || left.Count != 9 || !strings.Contains(left.Err(n).Error(), "9 of 150 responses have no score; prompt p33, sample 1: a seven") {
		t.Fatalf("items that fail: %v, %v", left, err)
	}
	calls := m.calls
	s.Skip = true
	if _, left, err := score(); err != nil || left.Count != 9 || m.calls != calls {
		t.Errorf("what has no score was asked again: %v, %v", left, err)
	}
	s.Skip = false
	m.item = nil
	scores, left, err := score()
	if err != nil || left.Count != 0 || left.Err(n) != nil || len(scores) != n {
		t.Fatalf("%d scores, %v, %v", len(scores), left, err)
	}
	for i, sc := range scores {
		if want := float64(len(responses[i].Text)); sc.Reward == nil || *sc.Reward != want || sc.Prompt != responses[i].Prompt || sc.Sample != responses[i].Sample {
			t.Errorf("response %d: %+v", i, sc)
		}
	}
	for response, times := range m.asked {
		want := 1
		if len(response)%10 == 7 && len(response) >= 64 {
			want = 2 // once in vain, after the first part, which has its scores
		}
		if times != want {
			t.Errorf("a response of %d was asked about %d times", len(response), times)
		}
	}

	// Complete scores are read; other responses or another reward are not those.
	calls = m.calls
	if _, _, err := score(); err != nil || m.calls != calls {
		t.Errorf("complete scores were asked for again: %v", err)
	}
	m.fingerprint = "2"
	if _, _, err := score(); err != nil || m.calls == calls {
		t.Errorf("a reward that has changed was not asked: %v", err)
	}
	m.fingerprint = "1"
	if err := run.PutLines(d, name, "decoded anew", nil, nil, responses); err != nil {
		t.Fatal(err)
	}
	calls = m.calls
	if _, _, err := score(); err != nil || m.calls == calls {
		t.Errorf("responses that were decoded anew were not scored: %v", err)
	}

	m.fingerprint, m.item = "3", nil
	s.Model = endless{m}
	if _, left, err := score(); err != nil || left.Count != n || !strings.Contains(left.Err(n).Error(), "finite") {
		t.Errorf("rewards that are not finite: %v, %v", left, err)
	}
}

// endless gives rewards that are none.
type endless struct{ *frail }

func (endless) Score(_ context.Context, items []reward.Item) ([]reward.Score, error) {
	out := make([]reward.Score, len(items))
	for i := range out {
		out[i].Value = math.Inf(i%2*2 - 1)
	}
	return out, nil
}
