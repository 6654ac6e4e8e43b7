package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

const (
	leastCells = 1024 // of the KV cache, which grows with what comes
	batchSize  = 512  // tokens: as many as llama.cpp computes at once
	candidates = 64   // likeliest tokens that a grammar is asked about first
)

// file is a model of our own. Questions that begin alike share what they have in common, if they follow
// each other.
type file struct {
	model   *llama.Model
	encoder *prompt.Encoder

	mu    sync.Mutex
	words map[string][]int32 // the tokens that are a word
	c     *llama.Context     // nil before the first question
	fed   []int32            // the tokens of its only sequence
}

// day is the date that templates which tell it are given, as for reward heads: verdicts are to be the same
// tomorrow.
var day = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

func openFile(name string) (model, error) {
	path, err := hub.Source{Path: name}.Find(context.Background(), hub.Options{Offline: true}) // another program may keep it
	if err != nil {
		return nil, err
	}
	m, err := llama.Load(path, llama.ModelParams{GPULayers: -1})
	if err != nil {
		return nil, err
	}
	encoder, err := prompt.NewEncoder(m, prompt.Options{Now: day})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if encoder.Plain() {
		slog.Warn("the judge has no chat template: its question is a text that it goes on from", "model", path)
	}
	return &file{model: m, encoder: encoder, words: map[string][]int32{}}, nil
}

func (f *file) fingerprint() (string, error) { return f.model.Fingerprint() }

// limit is the most tokens of a question and its reply.
func (f *file) limit() int { return cmp.Or(f.model.Info().ContextTrain, 4096) }

// encode makes tokens of a question. A model without a chat template goes on from its text.
func (f *file) encode(q *question, text string) ([]int32, error) {
	record := prompt.Record{Messages: []llama.Message{{Role: "user", Content: text}}}
	if f.encoder.Plain() {
		record = prompt.Record{Text: text}
	}
	tokens, err := f.encoder.Encode(record)
	if err != nil {
		return nil, err
	}
	if n := len(tokens) + q.room(); n > f.limit() {
		return nil, fault.New("", "reward", f.limit(), "lower {max_tokens}, shorten the prompts, or take another judge", "the judge's question takes %d tokens of the %d that it was trained with", n, f.limit())
	}
	return tokens, nil
}

// room is the number of tokens of a reply that are fed.
func (q *question) room() int {
	if q.schema == nil {
		return 0
	}
	return replyTokens
}

func (f *file) check(ctx context.Context, q *question, texts []string) (int, error) {
	for i, text := range texts {
		if ctx.Err() != nil {
			return i, context.Cause(ctx)
		}
		if _, err := f.encode(q, text); err != nil {
			return i, err
		}
	}
	return 0, nil
}

func (f *file) ask(ctx context.Context, q *question, texts []string) ([]Verdict, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.schema == nil {
		for _, word := range q.words {
			if err := f.find(word); err != nil {
				return nil, err
			}
		}
	}
	// What one call has read is shared within it alone: how a question is cut into batches, and so its rounding, is not to
	// depend on who asked before.
	f.fed = nil
	if f.c != nil {
		if err := f.c.Clear(); err != nil {
			return nil, err
		}
	}
	verdicts := make([]Verdict, len(texts))
	for i, text := range texts {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		v := &verdicts[i]
		tokens, err := f.encode(q, text)
		if err == nil {
			err = f.fit(len(tokens) + q.room()) // where there is too little memory, others may fit
		}
		if v.Err = err; err != nil {
			continue
		}
		row, err := f.feed(ctx, tokens)
		if err != nil {
			return nil, err
		}
		if q.schema == nil {
			v.Value, v.Said, v.Err = f.odds(q, row)
			continue
		}
		if v.Said, err = f.reply(ctx, q, row); err != nil {
			return nil, err
		}
		v.Value, v.Err = q.parse(v.Said)
	}
	return verdicts, nil
}

// find looks up the tokens that are a word.
func (f *file) find(word string) error {
	if f.words[word] != nil {
		return nil
	}
	for id := range int32(f.model.Info().Vocab) {
		piece, err := f.model.Piece(id, false)
		if err != nil {
			return err
		}
		if len(piece) < len(word)+4 && spells(string(piece), word) {
			f.words[word] = append(f.words[word], id)
		}
	}
	if f.words[word] == nil {
		return fault.New("", "reward", nil, "take another judge, or add reply=json to it: judge:MODEL.gguf,reply=json", "no token of %s is the word %q", f.model.Path(), word)
	}
	return nil
}

// odds are the log-odds of the words as the reply's first token.
func (f *file) odds(q *question, row llama.Row) (odds float64, said string, err error) {
	var sums [2]float64
	for k, word := range q.words {
		var logits []float64
		for _, id := range f.words[word] {
			logits = append(logits, float64(row.Logits[id]))
		}
		sums[k] = logSumExp(logits)
	}
	piece, err := f.model.Piece(row.Top[0], true)
	if odds = sums[0] - sums[1]; math.IsNaN(odds) || math.IsInf(odds, 0) {
		err = errors.Join(err, fmt.Errorf("the odds of %s and %s are %v (take another judge)", q.words[0], q.words[1], odds))
	}
	return odds, string(piece), err
}

// reply is the likeliest reply within the question's grammar, token by token.
func (f *file) reply(ctx context.Context, q *question, row llama.Row) (string, error) {
	g, err := f.model.NewGrammar(q.gbnf(), "")
	if err != nil {
		return "", err
	}
	defer g.Close()
	var said strings.Builder
	for range replyTokens {
		token, err := f.likeliest(g, row)
		if err != nil {
			return "", err
		}
		if f.model.IsEOG(token) {
			break
		}
		piece, err := f.model.Piece(token, false)
		if err != nil {
			return "", err
		}
		said.Write(piece)
		if err := g.Accept(token); err != nil {
			return "", err
		}
		if row, err = f.feed(ctx, append(slices.Clip(f.fed), token)); err != nil {
			return "", err
		}
	}
	return said.String(), nil
}

// likeliest is the token of the largest logit that the grammar allows.
func (f *file) likeliest(g *llama.Grammar, row llama.Row) (int32, error) {
	allowed := make([]bool, len(row.Top))
	if err := g.Mask(row.Top, allowed); err != nil {
		return 0, err
	}
	if i := slices.Index(allowed, true); i >= 0 {
		return row.Top[i], nil
	}
	all := make([]int32, len(row.Logits))
	for i := range all {
		all[i] = int32(i)
	}
	allowed = make([]bool, len(all))
	if err := g.Mask(all, allowed); err != nil {
		return 0, err
	}
	best := int32(-1)
	for i, ok := range allowed {
		if ok && (best < 0 || row.Logits[i] > row.Logits[best]) {
			best = int32(i)
		}
	}
	if best < 0 {
		return 0, errors.New("the judge's vocabulary has no token that its verdict may go on with (take another judge, or the odds of words)")
	}
	return best, nil
}

// fit makes a context of so many cells, if there is none yet.
func (f *file) fit(cells int) error {
	if f.c != nil && f.c.Params().Ctx >= cells {
		return nil
	}
	if f.c != nil {
		if err := f.c.Close(); err != nil {
			return err
		}
		f.c, f.fed = nil, nil
	}
	ctx := leastCells
	for ctx < cells {
		ctx *= 2
	}
	c, err := f.model.NewContext(llama.ContextParams{Ctx: min(ctx, max(leastCells, f.limit())), Batch: batchSize, Threads: engine.Threads(f.model), Top: candidates, FullWindow: true})
	if err != nil {
		return fmt.Errorf("the judge: %w", err)
	}
	f.c = c
	return nil
}

// feed decodes what the sequence lacks of some tokens, and returns the row of the last.
func (f *file) feed(ctx context.Context, tokens []int32) (row llama.Row, err error) {
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		f.c.Abort(true)
		close(aborted)
	})
	defer func() {
		if !stop() {
			<-aborted
			f.c.Abort(false)
		}
		if err == nil {
			f.fed = tokens
			return
		}
		f.fed = nil
		if err = errors.Join(err, f.c.Clear()); ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	shared := 0
	for shared < len(tokens)-1 && shared < len(f.fed) && tokens[shared] == f.fed[shared] {
		shared++
	}
	if shared < len(f.fed) {
		if f.c.Trim(0, int32(shared)) != nil { // memories that are no cache of tokens cannot be cut
			if err := f.c.Clear(); err != nil {
				return row, err
			}
			shared = 0
		}
	}
	last := -1
	for pos := shared; pos < len(tokens); pos++ {
		if f.c.Pending() == batchSize {
			if err := f.c.Decode(); err != nil {
				return row, fmt.Errorf("the judge: %w", err)
			}
		}
		if last, err = f.c.Add(tokens[pos], int32(pos), 0, pos == len(tokens)-1, 0); err != nil {
			return row, err
		}
	}
	if err := f.c.Decode(); err != nil {
		return row, fmt.Errorf("the judge: %w", err)
	}
	return f.c.Row(last)
}

// Close frees the model.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if f.c != nil {
		err = f.c.Close()
	}
	return errors.Join(err, f.model.Close())
}
