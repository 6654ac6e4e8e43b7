package fleet

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

const (
	strikes   = 3                // damaged results after which a worker is not taken any more
	saveEvery = 10 * time.Second // it is written who did what, or as soon as that is a fiftieth of the time
)

// crew is all workers that a run has had.
type crew struct {
	mu      sync.Mutex
	dir     string
	members map[string]*member // by worker
	own     *member            // this machine
	drawn   map[string]string  // who drew a file of the run
	old     []Member           // of earlier calls
	dirty   bool
	saved   time.Time
	took    time.Duration // to save
	stage   *stage
}

// member is a worker.
type member struct {
	Card
	seen            time.Time
	doing           []string
	decoded         int64     // as it says itself, since it was started
	since           time.Time // it first said so, and
	before          int64     // how much by then: for other runs
	shards          int
	scored          int // files of responses
	tokens          int64
	seconds         float64 // of its work: a sum that nothing overflows
	failures, wrong int
	left, lost      bool // it is there once it says so itself: what it has said of a shard may be old
	unable          bool // to score
}

func (c *crew) start(dir string, own Card) error {
	c.dir, c.members, c.drawn, c.saved = dir, map[string]*member{}, map[string]string{}, time.Now()
	own.Worker = ""
	c.own = &member{Card: own, since: c.saved, seen: c.saved}
	responses, scores, err := run.Made(dir)
	if err != nil {
		return unwritable(err)
	}
	before, err := ReadRecord(dir)
	switch {
	case run.Absent(err): // what no fleet has drawn yet is the work of this machine, as it is now: whatever drew it has left no word of itself
		for _, name := range responses {
			c.drewHere(name, 0)
		}
		for _, name := range scores {
			c.scoredHere(name)
		}
		c.dirty = false // until there is more to say than that
		return nil
	case err != nil:
		return &fault.Error{Op: "fleet", Err: fmt.Errorf("%s: %w", filepath.Join(dir, run.FleetFile), err), Hint: "mend it, or remove it: all that is there counts as drawn by this machine then"}
	}
	if before.Drawn != nil {
		c.drawn = before.Drawn
	}
	lost := Member{Name: Forgotten}
	for of, names := range map[*int][]string{&lost.Shards: responses, &lost.Scored: scores} {
		for _, name := range names {
			if c.drawn[name] == "" {
				c.drawn[name] = Forgotten
				*of++
			}
		}
	}
	if lost.Shards+lost.Scored > 0 {
		before.add(lost)
		c.dirty = true
	}
	c.old = before.Workers
	return nil
}

// drewHere notes what this machine has drawn.
func (c *crew) drewHere(name string, tokens int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(c.own, name)
	c.own.shards++
	c.own.tokens += tokens
}

// scoredHere notes what this machine has scored.
func (c *crew) scoredHere(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(c.own, name)
	c.own.scored++
}

// note notes who has drawn or scored a file; the mutex is held. That somebody takes part is written down at once, or a run that is
// killed would not know of it.
func (c *crew) note(m *member, name string) {
	if m.shards == 0 && m.scored == 0 {
		c.saved = time.Time{}
	}
	c.drawn[name] = m.Called()
	c.dirty = true
}

// of is a worker that is heard of; the mutex is held. One more than a run knows is forgotten at once.
func (c *crew) of(card *Card) *member {
	m := c.members[card.Worker]
	if m == nil {
		m = &member{left: true}
		if len(c.members) < mostWorkers || c.forget() {
			c.members[card.Worker] = m
		}
	}
	m.Card, m.seen, m.lost = *card, time.Now(), false
	return m
}

// forget drops a worker that is gone, if there is one, but for what it did; the mutex is held.
func (c *crew) forget() bool {
	for id, m := range c.members {
		if (m.left || m.lost) && m.wrong == 0 {
			if m.shards > 0 || m.scored > 0 {
				c.old = append(c.old, m.record())
			}
			delete(c.members, id)
			return true
		}
	}
	return false
}

// full says whether there is no room for a worker that is not known yet.
func (c *crew) full(worker string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[worker] == nil && len(c.members) >= mostWorkers && !c.forget()
}

// saw notes that a worker lives, and says whether that was known.
func (c *crew) saw(card *Card) (known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[card.Worker]
	known = m != nil && !m.lost && !m.left
	c.of(card).left = false
	return known
}

// heard notes what a worker said of a shard, which one that has left meanwhile may have said before.
func (c *crew) heard(card *Card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(card)
}

// pulse notes how a worker is, and says what of it is new.
func (c *crew) pulse(p *pulse) (left, unable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.of(&p.Card)
	left, unable = p.Left && !m.left, p.Unable != "" && !m.unable
	if m.since.IsZero() {
		m.since, m.before = time.Now(), p.Tokens
	}
	m.doing, m.decoded, m.left, m.unable = p.Doing, p.Tokens, p.Left, p.Unable != ""
	return left, unable
}

// look notes who has not been heard of, and saves.
func (c *crew) look(silence time.Duration, say func(string)) {
	c.mu.Lock()
	var lost []string
	for _, m := range c.members {
		if !m.lost && !m.left && time.Since(m.seen) > silence {
			m.lost = true
			lost = append(lost, fmt.Sprintf("worker %s has not been heard of for %v: what it had is given to others", m.Called(), silence))
		}
	}
	c.mu.Unlock()
	for _, text := range lost {
		say(text)
	}
	if c.due() {
		if err := c.save(); err != nil {
			say("who did what cannot be written: " + err.Error())
		}
	}
}

// due says whether who did what has to be written down.
func (c *crew) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dirty && time.Since(c.saved) > min(saveEvery, 50*c.took)
}

// alive counts the workers that are there.
func (c *crew) alive() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if !m.left && !m.lost && m.wrong < strikes {
			n++
		}
	}
	return n
}

// contexts counts those of the workers that are there.
func (c *crew) contexts() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if !m.left && !m.lost && m.wrong < strikes {
			n += max(1, m.Contexts)
		}
	}
	return n
}

// banned says why a worker is not taken, if it is not.
func (c *crew) banned(worker string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[worker]; m != nil && m.wrong >= strikes {
		return fmt.Sprintf("%d of its results were damaged (look for faults of its memory or disk)", m.wrong)
	}
	return ""
}

// strike notes a damaged result.
func (c *crew) strike(worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[worker]; m != nil {
		m.wrong++
	}
}

// did notes who drew a shard.
func (c *crew) did(name string, n *notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.of(&n.Card)
	c.note(m, name)
	m.shards++
	m.tokens += n.Tokens
	m.seconds += n.Took.Seconds()
}

// graded notes who scored a file of responses.
func (c *crew) graded(name string, n *notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.of(&n.Card)
	c.note(m, name)
	m.scored++
	m.seconds += n.Took.Seconds()
}

// able counts the workers that are there and can score.
func (c *crew) able() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if !m.left && !m.lost && m.wrong < strikes && !m.unable {
			n++
		}
	}
	return n
}

// failure notes that a shard failed.
func (c *crew) failure(card *Card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(card).failures++
	c.dirty = true
}

// begin says which stage is under way, until the end is called.
func (c *crew) begin(s *stage) (end func()) {
	set := func(s *stage) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stage = s
	}
	set(s)
	return func() { set(nil) }
}
