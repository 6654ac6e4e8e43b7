package experiment

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
)

// Tuning is what training and choosing a policy of the recipe took, and gave on the validation prompts. It is kept
// beside the cells of what the policy answered.
type Tuning struct {
	Key    string       `json:"key"`
	Policy string       `json:"policy"`
	Seed   uint64       `json:"seed"`
	Report *tune.Report `json:"report"`
}

// check finds what no report of a key holds.
func (t *Tuning) check(key string) error {
	if t.Report == nil {
		return errors.New("it has no report")
	}
	return keyed(t.Key, key)
}

// tuned is the file of a report beside a policy.
type tuned struct {
	run.Stamp
	Report *tune.Report `json:"report"`
}

// tune has a policy of the recipe ready to answer under a seed, where it is one that is trained.
func (w *work) tune(ctx context.Context, id string, seed uint64) error {
	t := w.x.Policy(id)
	if t == nil || t.Run == "" || w.ready[prepared{"policy " + id, seed}] {
		return nil
	}
	key, err := w.x.TunedKey(t, seed)
	if err != nil {
		return err
	}
	name, file := path.Join("policies", key+".json"), path.Join("policies", key+".gguf")
	done, err := w.d.Done(name, key)
	if err != nil {
		return err
	}
	if !done {
		report, err := w.trainPolicy(ctx, t, seed, file)
		if err != nil {
			return fmt.Errorf("policies.%s: %w", id, err)
		}
		if err := run.Put(w.d, name, key, nil, []string{file}, &tuned{Report: report}); err != nil {
			return err
		}
	}
	w.ready[prepared{"policy " + id, seed}] = true
	if err := w.keepTuning(id, seed, key, name); err != nil {
		return err
	}
	return w.x.LoadTuned(t, seed, w.d.Path(file))
}

func (w *work) keepTuning(id string, seed uint64, key, name string) error {
	if w.cells == "" {
		return nil
	}
	known, err := run.Value[tuned](w.d.Path(name))
	if err != nil {
		return err
	}
	key = "policy-" + key
	return w.writeCell(key, &Tuning{key, id, seed, known.Report})
}

// tunings are those of the recipe's policies of which something is kept.
func (w *work) tunings() (out []Tuning, err error) {
	for i := range w.x.Tuned {
		t := &w.x.Tuned[i]
		for _, seed := range w.x.Seeds {
			if t.Run == "" {
				continue
			}
			key, err := w.x.TunedKey(t, seed)
			if err != nil {
				return nil, err
			}
			at := "policy-" + key
			if w.cells != "" {
				if kept, err := readCell(w.cellFile(at), func(t *Tuning) error { return t.check(at) }); err != nil {
					return nil, err
				} else if kept != nil {
					out = append(out, *kept)
				}
				continue
			}
			known, err := run.Value[tuned](w.d.Path(path.Join("policies", key+".json")))
			if err == nil {
				out = append(out, Tuning{at, t.ID, seed, known.Report})
			} else if !run.Absent(err) {
				return nil, err
			}
		}
	}
	return out, nil
}

// trainPolicy trains on the samples of a run of the recipe. The reference's log-probabilities are kept for other
// policies that learn from the same ones.
func (w *work) trainPolicy(ctx context.Context, t *recipe.Tuned, seed uint64, file string) (*tune.Report, error) {
	r := w.x.Run(t.Run)
	dir, err := w.loop(ctx, r, seed)
	if err != nil {
		return nil, err
	}
	o, of := w.x.Tuning(t, seed)
	if of.Pairs, of.Trajectories, err = tune.PairsOfRun(dir, t.Round, of.Encoder); err != nil {
		return nil, err
	}
	if err := w.d.Make(file); err != nil {
		return nil, err
	}
	of.Dir, of.Out = w.d.Path(path.Join("tunings", fmt.Sprintf("%s-%d", path.Base(dir), t.Round))), w.d.Path(file)
	of.Notify = func(e loop.Event) {
		w.notify(Event{Stage: fmt.Sprintf("policy %s, seed %d: %s", t.ID, seed, e.Stage), Done: e.Done, Total: e.Total, Unit: e.Unit, Note: e.Note})
	}
	report, err := tune.Run(ctx, o, of)
	if err == nil {
		report.Policy = file // wherever the experiment lies
	}
	return report, err
}
