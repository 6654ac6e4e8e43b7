package fleet

import (
	"context"
	"fmt"
	"time"
)

// later is when an order comes again that a worker could not do for now.
const later = 5 * time.Second

// overdue tells of an order that lies on its queue while a worker waits for it. JetStream counts the time until an order of a lost
// worker is given to another by the clock on the wall, and a message's age too: where that is set back, the order lies there
// as long as the jump was, and where it is set ahead by a month, it is gone. Here time goes by the clock that never jumps.
type overdue struct{ since time.Time }

// look says whether an order that lies there, or does not, has done so for longer than a worker's patience: once, and then
// that time begins anew.
func (d *overdue) look(now time.Time, lies bool, patience time.Duration) bool {
	switch {
	case !lies:
		d.since = time.Time{}
	case d.since.IsZero():
		d.since = now
	case now.Sub(d.since) > patience:
		d.since = time.Time{}
		return true
	}
	return false
}

// patience is how long an order may lie there before something is done about it: a worker that does not say so may have it
// in hand for a heartbeat, and one that could not do it has it come again later.
func (c *Coordinator) patience() time.Duration { return c.o.Heartbeat + later }

// hands are the shards and files that workers have in hand who are there, and the queues of which one waits with nothing in
// hand.
func (c *crew) hands() (held, waits map[string]bool) {
	held, waits = map[string]bool{}, map[string]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.left || m.lost || m.wrong >= strikes {
			continue
		}
		for _, name := range m.doing {
			held[name] = true
		}
		if len(m.doing) == 0 {
			waits[queue(m.Model)] = true
			waits[scoresQueue] = waits[scoresQueue] || !m.unable
		}
	}
	return held, waits
}

// remind puts the shards on their queues again that workers wait for in vain.
func (s *stage) remind() error {
	held, waits := s.hands()
	late := map[*order]int{} // and by which attempt
	now := time.Now()
	s.mu.Lock()
	for _, o := range s.open {
		if o.queued && o.look(now, waits[queue(o.Model)] && !held[o.Name] && !o.taking, s.patience()) {
			o.attempt++
			late[o] = o.attempt
		}
	}
	s.mu.Unlock()
	for o, attempt := range late {
		if err := s.again(s.ctx, queue(o.Model), o.Key, o.Name, attempt, o.Drawing); err != nil {
			return err
		}
	}
	return nil
}

// remindScores puts responses on the queue again that workers wait for in vain.
func (c *Coordinator) remindScores(ctx context.Context, o *asked) error {
	held, waits := c.hands()
	c.desk.mu.Lock()
	late := o.look(time.Now(), waits[scoresQueue] && !held[o.Name], c.patience())
	if late {
		o.attempt++
	}
	attempt := o.attempt
	c.desk.mu.Unlock()
	if !late {
		return nil
	}
	return c.again(ctx, scoresQueue, o.Key, o.Name, attempt, o.Asking)
}

// again puts an order on its queue in place of that of the last attempt.
func (c *Coordinator) again(ctx context.Context, queue, key, name string, attempt int, order any) error {
	c.o.Say(fmt.Sprintf("%s lay on the queue while workers waited, as after a clock was set back: it is given out again", name))
	c.withdraw(ctx, c.run.shard(queue, key, fmt.Sprint(attempt-1)))
	return c.post(ctx, queue, key, attempt, order)
}
