package llama

import (
	"log/slog"
	"math/bits"
	"sync"
	"time"
)

// pace decides with how many of a context's threads it computes. ggml's threads wait for each
// other by spinning, at every operation of a graph: where one of them has lost its core to another
// program the others wait until it has it back, hundreds of times a step, and more threads than
// free cores are slower than one by orders of magnitude. Being thrown off a core is counted by
// the system (involuntary switches). Where that happens often, half of the threads are tried
// and kept if they are faster; from time to time more are tried again. Results of the
// embedded llama.cpp do not depend on the number of threads (docs/decisions.md has what newer ones do).
type pace struct {
	most, now int                 // threads that may be used, that are used
	cost      [maxClass]window    // of recent steps with now threads, by class
	trial     *trial              // under way, if any
	wait      time.Duration       // between trials, longer after each that was in vain
	next      time.Time           // when another may begin
	told      func(now, most int) // called when threads are given up
}

// A step of n tokens is of class bits.Len(n): the cost of a token is comparable within one.
const maxClass = 32

// window sums up steps of one class.
type window struct {
	steps, tokens int
	took          time.Duration
	switches      int64
}

func (w *window) add(tokens int, took time.Duration, switches int64) {
	w.steps++
	w.tokens += tokens
	w.took += took
	w.switches += switches
}

func (w *window) full() bool {
	return w.steps >= 4 && w.took >= 20*time.Millisecond || w.took >= 500*time.Millisecond
}

// each is the time of a token.
func (w *window) each() time.Duration { return w.took / time.Duration(max(1, w.tokens)) }

// crowded says whether threads lost their cores more often than a machine does that has
// nothing else to do: a hundred times a second.
func (w *window) crowded() bool {
	return w.switches >= 3 && w.switches*10 >= w.took.Milliseconds()
}

// trial is a number of threads on probation.
type trial struct {
	from  int // the number to go back to
	class int
	base  time.Duration // of a token with from threads
	got   window
	other time.Duration // that steps of other classes took
}

const (
	firstWait = time.Second
	mostWait  = 8 * time.Second        // a round of answers takes about as long: none of them whole with too few threads
	patience  = 250 * time.Millisecond // that a trial has with steps of other classes
)

// step takes note of a step, and returns the number of threads for the next one.
func (p *pace) step(tokens int, took time.Duration, switches int64, at time.Time) int {
	if p.most < 2 {
		return p.now
	}
	class := bits.Len(uint(tokens))
	if p.trial != nil {
		p.try(class, tokens, took, switches, at)
		return p.now
	}
	w := &p.cost[class]
	if w.add(tokens, took, switches); !w.full() || at.Before(p.next) {
		if w.full() {
			*w = window{}
		}
		return p.now
	}
	switch {
	case w.crowded() && p.now > 1:
		p.begin(class, p.now/2)
	case p.now < p.most:
		p.begin(class, p.now+(p.most-p.now+1)/2)
	}
	*w = window{}
	return p.now
}

func (p *pace) begin(class, threads int) {
	p.trial = &trial{from: p.now, class: class, base: p.cost[class].each()}
	p.now = threads
}

// try takes note of a step of the trial, and ends it when it has shown enough.
func (p *pace) try(class, tokens int, took time.Duration, switches int64, at time.Time) {
	t := p.trial
	if class == t.class {
		t.got.add(tokens, took, switches)
	} else {
		t.other += took
	}
	usual := t.base * time.Duration(t.got.tokens) // with the threads that it was
	enough := t.got.steps >= 4 && max(usual, t.got.took) >= 20*time.Millisecond
	worse := t.got.took > 2*usual && t.got.took > 5*time.Millisecond
	if !enough && !worse && t.other < patience {
		return
	}
	p.trial = nil
	// Fewer threads must gain clearly, for they leave cores idle when the crowd has gone.
	gains := p.now < t.from && 5*t.got.took < 4*usual || p.now > t.from && t.got.took < usual
	if !enough || !gains {
		if p.wait = min(max(2*p.wait, firstWait), mostWait); p.now < t.from {
			p.wait = firstWait // it cost little
		}
		p.now = t.from
		// What trials cost stays below a twentieth.
		p.next = at.Add(max(p.wait, 20*t.got.took))
		return
	}
	p.wait, p.next = 0, at
	if p.now < p.most {
		p.next = at.Add(firstWait)
	}
	if p.now < t.from && p.told != nil {
		p.told(p.now, p.most)
	}
}

var tellPace sync.Once

// tellOnce says that threads were given up, once in a process.
func tellOnce(now, most int) {
	tellPace.Do(func() {
		slog.Warn("other programs use the cores: decoding takes fewer threads while that is faster", "threads", now, "of", most)
	})
}
