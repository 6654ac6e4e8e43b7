package head

import (
	"context"
	"errors"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/cache"
)

// follower reads answers that grow. It keeps what the trunk has read of them in a context of its
// own, with the states that were wanted.
type follower struct {
	c     *llama.Context
	cache *cache.Cache
}

const (
	followedSequences = 128
	followedAnswers   = 64        // that room is made for
	followedCells     = 4096      // of the KV cache in any case, unless conversations are longer
	followedBytes     = 256 << 20 // of more cells than that
)

// followed is the owner of a conversation. Nobody tells when an answer is given up: what was asked
// about longest ago makes room.
type followed struct{ gone bool }

func (f *followed) Gone() bool { return f.gone }

// candidate is the most tokens in which conversations differ that are one answer with another last token: one of them
// is kept for all, or those of a batch of answers would drive each other out.
const candidate = 8

// Follow is Read for answers that are not finished, those of a search: each is read as if it ended
// there, and one with one more token costs that token and the end of the conversation. Answers of one
// call are best those to one prompt. What is kept is kept by place, and states depend by rounding on what was asked there
// before, until [Reader.Forget].
func (r *Reader) Follow(ctx context.Context, place any, answers []Answer, take func(answer int, s States, err error) error) error {
	if r.embeddings != nil { // which cost nothing
		return r.Read(ctx, answers, take)
	}
	all, err := r.encodeAll(ctx, answers, take)
	if err != nil || len(all) == 0 { // none can be read, which take was told
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.followed(place, all)
	if err != nil {
		return err
	}
	if err := abortable(ctx, f.c, func() error { return f.read(all) }); err != nil {
		return errors.Join(err, f.cache.Reset())
	}
	for _, c := range all {
		if err := take(c.answer, c.read(), nil); err != nil {
			return err
		}
	}
	return nil
}

// Keeps says whether anything is kept of answers that are followed.
func (r *Reader) Keeps() bool { return r.embeddings == nil }

// Forget frees what is kept for a place.
func (r *Reader) Forget(place any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.followers[place]
	if f == nil {
		return nil
	}
	delete(r.followers, place)
	return f.c.Close()
}

// followed is a place's follower, with room for the longest of some conversations and another one.
func (r *Reader) followed(place any, all []*conversation) (*follower, error) {
	longest := 0
	for _, c := range all {
		longest = max(longest, len(c.tokens))
	}
	if f := r.followers[place]; f != nil {
		if f.c.Params().Ctx >= 2*longest {
			return f, nil
		}
		delete(r.followers, place)
		if err := f.c.Close(); err != nil {
			return nil, err
		}
	}
	cells := min(followedAnswers*longest, int(followedBytes/max(1, r.model.CellBytes(llama.CacheF16, llama.CacheF16))))
	c, err := r.context(max(followedCells, 2*longest, cells), followedSequences, false)
	if err != nil {
		return nil, err
	}
	f := &follower{c, cache.New(c)}
	r.followers[place] = f
	return f, nil
}

// read computes the states of conversations.
func (f *follower) read(all []*conversation) error {
	var wants []*cache.Want
	for _, c := range all {
		if c.gate >= 0 {
			if err := f.cache.Bring([]*cache.Want{statesOf(c.tokens[:c.gate+1], c.gate, &c.states.Gate)}); err != nil {
				return err
			}
		}
		wants = append(wants, statesOf(c.tokens, c.since, &c.states.Hidden))
	}
	shared := &followed{}
	if err := f.cache.Share(wants, shared); err != nil {
		return err
	}
	if err := f.cache.Bring(wants); err != nil {
		return err
	}
	shared.gone = true // all have it
	for _, w := range wants[1:] {
		w.Owner.(*followed).gone = len(w.Tokens)-cache.Common(w.Tokens, wants[0].Tokens) <= candidate
	}
	return f.cache.Sweep()
}

// statesOf wants the states after tokens, from number since on.
func statesOf(tokens []int32, since int, to *[]float32) *cache.Want {
	n := len(tokens)
	return &cache.Want{Owner: &followed{}, Tokens: tokens, From: n, Out: n, Hidden: to, Since: since}
}
