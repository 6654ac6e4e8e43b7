package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Score is what a reward said of a response.
type Score struct {
	Prompt string   `json:"prompt_id"`
	Sample int      `json:"sample"`
	Reward *float64 `json:"reward,omitempty"` // nil where there is none
	Error  string   `json:"error,omitempty"`  // why not
}

// Scorer scores the responses of a run, in files beside them.
type Scorer struct {
	Dir     *run.Dir
	Model   reward.Model
	Records map[string]prompt.Record // the prompts by id
	Notify  func(scored int)         // told of every part, if set; calls may overlap where Elsewhere is
	// Skip leaves responses without a score that were asked about in vain, in an earlier call
	// too: so a run that goes on does not find other scores than those it has learned from.
	Skip bool
	// Elsewhere, if set, has responses scored on other machines; by [ErrHere] it leaves them to this one.
	Elsewhere Elsewhere
	Own       Own           // is told of the files that this machine scores
	Save      time.Duration // scores are written this often while others are asked for; 0 for 10 s
}

// Records are prompts by id.
func Records[T any](prompts []T, record func(T) prompt.Record) map[string]prompt.Record {
	out := make(map[string]prompt.Record, len(prompts))
	for _, p := range prompts {
		r := record(p)
		out[r.ID] = r
	}
	return out
}

// Folder is the name under which the run keeps what the reward says.
func (s *Scorer) Folder() string {
	info := s.Model.Info()
	return run.RewardFolder(info.Name, info.Fingerprint)
}

// Unscored counts the responses that a reward gave no score, and says why of the first.
type Unscored struct {
	Count int
	First error
}

// Add counts those of another file too.
func (u *Unscored) Add(o Unscored) {
	if u.First == nil {
		u.First = o.First
	}
	u.Count += o.Count
}

// Err is the error of a work that needs them all, nil if they are.
func (u Unscored) Err(of int) error {
	if u.Count == 0 {
		return nil
	}
	return &fault.Error{
		Op: "score", Field: "reward", Err: fmt.Errorf("%d of %d responses have no score; %w", u.Count, of, u.First),
		Hint: "they are kept: mend {reward} and run the same command again, which scores what is left (with {redo} where the reward is another one now), or go on without them by {skip_unscored}",
	}
}

// Files scores files of responses, and returns their scores; see [Scorer.File].
func (s *Scorer) Files(ctx context.Context, names []string) ([][]Score, Unscored, error) {
	out := make([][]Score, len(names))
	all := make([]Unscored, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.AtOnce())
	for i, name := range names {
		g.Go(func() (err error) {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			out[i], all[i], err = s.File(gctx, name)
			return err
		})
	}
	err := g.Wait()
	var left Unscored
	for _, u := range all {
		left.Add(u)
	}
	if err != nil {
		return nil, left, err
	}
	return out, left, nil
}

// AtOnce is the number of files that are best scored at once.
func (s *Scorer) AtOnce() int {
	if s.Elsewhere == nil {
		return 1
	}
	return 256
}

// File scores the responses of one file, or reads what was said of them. Scores that an
// earlier call got are kept, whatever became of the others.
func (s *Scorer) File(ctx context.Context, name string) ([]Score, Unscored, error) {
	stamp, responses, err := run.Lines[Response](s.Dir.Path(name))
	if err != nil {
		return nil, Unscored{}, err
	}
	key := s.key(stamp.Key)
	to := run.Scores(s.Folder(), name)
	scores := make([]Score, len(responses))
	for i, r := range responses {
		scores[i] = Score{Prompt: r.Prompt, Sample: r.Sample}
	}
	if old, known, err := run.Lines[Score](s.Dir.Path(to)); err == nil && len(known) == len(scores) && (old.Key == key || old.Key == unfinished(key)) {
		for i, k := range known {
			if k.Prompt == scores[i].Prompt && k.Sample == scores[i].Sample && (k.Reward != nil || s.Skip) {
				scores[i] = k
			}
		}
		if len(missing(scores)) == 0 {
			s.notify(len(scores))
			_, err := s.Dir.Done(to, old.Key) // which notes it, if the run was killed before it was
			return scores, unscored(scores), err
		}
	}
	save := func() error {
		key := key
		if unscored(scores).Count > 0 {
			key = unfinished(key)
		}
		return run.PutLines(s.Dir, to, key, map[string]string{name: stamp.Key}, nil, scores)
	}
	info := s.Model.Info()
	failed := s.score(ctx, Asking{Key: key, Name: to, Reward: info.Name, Fingerprint: info.Fingerprint}, responses, scores, save)
	left := unscored(scores)
	if err := save(); err != nil {
		return nil, left, errors.Join(failed, err)
	}
	return scores, left, failed
}

// key is that of a complete file of scores of responses made from what has the key given.
func (s *Scorer) key(responses string) string {
	return run.Key("scores", 1, s.Model.Info().Fingerprint, responses)
}

// unfinished marks the key of a file in which some scores are missing.
func unfinished(key string) string { return key + " unfinished" }

// missing are the responses that have not been asked about.
func missing(scores []Score) (out []int) {
	for i, s := range scores {
		if s.Reward == nil && s.Error == "" {
			out = append(out, i)
		}
	}
	return out
}

// score asks for the scores that are missing, and saves them from time to time.
func (s *Scorer) score(ctx context.Context, a Asking, responses []Response, scores []Score, save func() error) error {
	missing, saved := missing(scores), time.Now()
	s.notify(len(scores) - len(missing))
	a.Asked = make([]Asked, len(missing))
	for k, i := range missing {
		r := responses[i]
		record, ok := s.Records[r.Prompt]
		if !ok {
			return fmt.Errorf("score: prompt %s is not one of the run's (the prompts in the run's directory are not those that it was made with)", r.Prompt)
		}
		a.Asked[k] = Asked{Item: reward.Item{Prompt: record, Response: r.Text, Finish: string(r.Finish)}, Sample: r.Sample}
	}
	if s.Elsewhere != nil && len(missing) > 0 {
		if len(missing) < len(scores) {
			a.Key = run.Key(a.Key, missing)
		}
		got, err := s.Elsewhere(ctx, &a)
		if err == nil {
			for k, i := range missing {
				scores[i] = got[k]
			}
			s.notify(len(got))
		}
		if !errors.Is(err, ErrHere) {
			return err
		}
	}
	if len(missing) > 0 {
		defer s.Own.Scores(a.Name)
	}
	return eachPart(ctx, s.Model, a.Asked, func(from int, got []Score) error {
		for k, score := range got {
			scores[missing[from+k]] = score
		}
		s.notify(len(got))
		if time.Since(saved) > cmp.Or(s.Save, 10*time.Second) && from+len(got) < len(a.Asked) {
			saved = time.Now()
			return save()
		}
		return nil
	})
}

func (s *Scorer) notify(n int) {
	if s.Notify != nil && n > 0 {
		s.Notify(n)
	}
}

func unscored(scores []Score) (u Unscored) {
	for _, s := range scores {
		if s.Reward == nil {
			if u.Count++; u.First == nil && s.Error != "" {
				u.First = fmt.Errorf("prompt %s, sample %d: %s", s.Prompt, s.Sample, s.Error)
			}
		}
	}
	return u
}
