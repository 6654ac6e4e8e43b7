// Command frontier compares every decoding strategy with every value source on a run's
// test prompts: reward, win rate, KL from the base policy and tokens decoded for each one
// emitted, over several seeds, with greedy decoding and other temperatures as controls. It
// goes on where it was stopped. Run it with make frontier, after make demo.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	dir := flag.String("run", "runs/demo", "finished run of ivo iterate with test prompts")
	out := flag.String("out", "runs/frontier", "folder for answers and the page, in one of its own for each run")
	seeds := flag.Int("seeds", 5, "seeds of each method")
	only := flag.String("only", "", "regular expression that methods' names must match")
	engines := flag.Int("engines", 0, "contexts side by side; 0 for one a core")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := frontier(ctx, *dir, *out, *seeds, *only, *engines); err != nil {
		fmt.Fprintln(os.Stderr, "frontier:", err)
		os.Exit(1)
	}
}

// job is what all methods share.
type job struct {
	out    string
	o      *loop.Options
	pool   *engine.Pool
	reward reward.Model
	test   []prompt.Encoded
}

func frontier(ctx context.Context, dir, out string, seeds int, only string, engines int) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	o, err := loop.ReadOptions(dir)
	if err != nil {
		return fmt.Errorf("%w (run make demo first)", err)
	}
	j := &job{out: out, o: o}
	if j.reward, err = reward.Open(o.Reward, reward.Options{}); err != nil {
		return err
	}
	records, err := loop.Prompts(dir, run.EvalPromptsFile)
	if err != nil {
		return err
	}
	if out, err = folder(dir, out, o.Rounds); err != nil {
		return err
	}
	j.out = out
	m, err := llama.Load(o.Model, llama.ModelParams{})
	if err != nil {
		return err
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	if j.test, _, err = prompt.Fit(encoder, records, func(tokens int) error { return o.Fits(tokens, 0) }, true); err != nil {
		return err
	}
	if j.pool, err = engine.NewPool(m, engine.Params{Ctx: 8192, Sequences: 64, Layers: o.Layers}, engines); err != nil {
		return err
	}
	defer j.pool.Close()
	heads, err := trainHeads(ctx, dir, out, o)
	if err != nil {
		return err
	}

	var base [][]eval.Answer // under each seed
	page := report.Frontier{Reward: o.Reward, Model: o.Model, Temp: o.Sampling.Temp, Seeds: seeds}
	fmt.Println("method | reward [95 %] | wins | KL, nats | decoded an emitted token | seeds")
	fmt.Println("---|---|---|---|---|---")
	for _, method := range methods(o, j.reward, heads) {
		if base != nil && !pattern.MatchString(method.Name) {
			continue
		}
		answers, err := j.seeds(ctx, method, seeds)
		if err != nil {
			return err
		}
		if base == nil {
			base = answers
		}
		r := summarize(method.Name, answers, base, o.Seed)
		page.Rows = append(page.Rows, report.FrontierRow{
			Result: r, Family: strings.TrimSpace(setting.ReplaceAllString(method.Name, "")),
			Guided: method.Value != nil && method.Strategy.Method != decode.MethodBestOfN, Ranked: method.Strategy.Method == decode.MethodBestOfN,
		})
		kind := ""
		if r.KLKind == decode.KLBound {
			kind = "at most "
		}
		fmt.Printf("%s | %.2f [%.2f, %.2f] | %.0f %% | %s%.2f | %.1f | %d\n", r.Method, r.Reward.Mean, r.Reward.Lo, r.Reward.Hi, 100*r.WinRate, kind, r.KL.Mean, r.DecodedPerEmitted, seeds)
	}
	path := filepath.Join(out, "frontier.html")
	fmt.Println("\npage:", path)
	return report.WriteFrontier(path, page)
}

// folder makes the folder for the answers of this run: another one's heads give others.
func folder(dir, out string, rounds int) (string, error) {
	h := sha256.New()
	for _, name := range []string{"run.yaml", "iter-01/head.gguf", fmt.Sprintf("iter-%02d/head.gguf", rounds)} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("%w (let ivo iterate finish the run first)", err)
		}
		h.Write(data)
	}
	out = filepath.Join(out, fmt.Sprintf("%x", h.Sum(nil)[:4]))
	return out, os.MkdirAll(out, 0o755)
}

// setting is the part of a method's name by which members of a family differ.
var setting = regexp.MustCompile(`beta=[0-9.]+|[0-9.]+$`)

// seeds answers all prompts under each seed.
func (j *job) seeds(ctx context.Context, m eval.Method, seeds int) (out [][]eval.Answer, err error) {
	for seed := range seeds {
		answers, err := j.answers(ctx, m, uint64(seed+1))
		if err != nil {
			return nil, fmt.Errorf("%s, seed %d: %w", m.Name, seed+1, err)
		}
		out = append(out, answers)
	}
	return out, nil
}

// summarize compares a method's answers with the base policy's. Intervals are over each
// prompt's mean, for answers to one prompt are not independent; wins are counted seed by seed.
func summarize(name string, answers, base [][]eval.Answer, seed uint64) eval.Result {
	wins := 0.0
	mean := func(all [][]eval.Answer) []eval.Answer {
		out := slices.Clone(all[0])
		for i := range out {
			m := &out[i]
			for _, answers := range all[1:] {
				a := answers[i]
				m.Reward, m.KL, m.Emitted, m.Decoded = m.Reward+a.Reward, m.KL+a.KL, m.Emitted+a.Emitted, m.Decoded+a.Decoded
			}
			m.Reward, m.KL = m.Reward/float64(len(all)), m.KL/number.Float(len(all))
		}
		return out
	}
	for i, a := range answers {
		wins += eval.Summarize(name, a, base[i], seed).WinRate
	}
	r := eval.Summarize(name, mean(answers), mean(base), seed)
	r.WinRate = wins / float64(len(answers))
	return r
}

// answers decodes a method's answers under a seed, or reads them if they are there.
func (j *job) answers(ctx context.Context, m eval.Method, seed uint64) ([]eval.Answer, error) {
	name := strings.NewReplacer(" ", "_", "/", "_", "*", "-star").Replace(m.Name)
	path := filepath.Join(j.out, fmt.Sprintf("%s.%d.jsonl", name, seed))
	if answers, err := eval.ReadAnswers(path); !errors.Is(err, fs.ErrNotExist) {
		return answers, err
	}
	answers, err := eval.Run(ctx, j.pool, m, j.test, j.reward, seed, func(done int) {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s, seed %d: %d of %d prompts", m.Name, seed, done, len(j.test))
	})
	fmt.Fprint(os.Stderr, "\r\x1b[K")
	if err != nil {
		return nil, err
	}
	return answers, eval.WriteAnswers(path, answers)
}
