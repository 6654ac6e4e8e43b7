package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Status is how a fleet is.
type Status struct {
	Run     string   `json:"run"`
	Done    int      `json:"done"` // shards of the stage under way
	Total   int      `json:"total"`
	Left    float64  `json:"left,omitempty"`  // seconds, about, as far as is known
	Scoring int      `json:"scoring"`         // files of responses that are being scored
	Aside   []string `json:"aside,omitempty"` // shards that were set aside, with their errors
	Workers []Worker `json:"workers"`
	Mixed   bool     `json:"mixed"`
}

// Worker is how a worker is.
type Worker struct {
	Member
	State string   `json:"state"` // "works", "waits", "lost", "left" or "refused"; "own" of the run's machine
	Doing []string `json:"doing,omitempty"`
	Rate  float64  `json:"rate"` // tokens a second, of what it has drawn for this run
	Seen  float64  `json:"seen"` // seconds ago
}

// Status tells how the workers are.
func (c *Coordinator) Status() *Status {
	s := &Status{Run: string(c.run), Workers: []Worker{}}
	c.crew.mu.Lock()
	g := c.crew.stage
	c.crew.mu.Unlock()
	if g != nil {
		g.mu.Lock()
		s.Total = len(g.all)
		s.Done = s.Total - len(g.open) - len(g.aside)
		s.Left = g.pace.left(time.Now(), len(g.open)).Seconds()
		for _, o := range g.aside {
			s.Aside = append(s.Aside, fmt.Sprintf("%s: %v", o.Name, o.err))
		}
		g.mu.Unlock()
	}
	c.desk.mu.Lock()
	s.Scoring = len(c.desk.asked)
	c.desk.mu.Unlock()
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	s.Mixed = c.record().Mixed
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[id]
		w := Worker{Member: m.record(), Doing: m.doing, Seen: time.Since(m.seen).Seconds()}
		switch {
		case m.wrong >= strikes:
			w.State = "refused"
		case m.left:
			w.State = "left"
		case m.lost:
			w.State = "lost"
		case len(m.doing) > 0:
			w.State = "works"
		default:
			w.State = "waits"
		}
		until := time.Now()
		if m.left || m.lost {
			until = m.seen
		}
		if spent := until.Sub(m.since); spent > 0 {
			w.Rate = float64(max(0, m.decoded-m.before)) / spent.Seconds()
		}
		s.Workers = append(s.Workers, w)
	}
	if c.own.shards > 0 || c.own.scored > 0 {
		s.Workers = append(s.Workers, Worker{Member: c.own.record(), State: "own"})
	}
	return s
}

// ReadStatus asks the fleet at a server how it is.
func ReadStatus(ctx context.Context, url string, invite Invite) (*Status, error) {
	nc, err := dial(url, append(invite.options(), nats.Timeout(5*time.Second))...)
	if errors.Is(err, errUninvited) {
		return nil, uninvited("fleet")
	}
	if err != nil {
		return nil, &fault.Error{Op: "fleet", Field: "nats", Err: fmt.Errorf("the server cannot be reached: %w", err), Hint: "see that the run is under way, and what address and rights {nats} gives"}
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, statusSubject, nil)
	if err != nil {
		return nil, fault.New("fleet", "nats", nil, "give {nats} the address of an ivo iterate with a fleet that is under way", "no run answers there")
	}
	s := &Status{}
	if err := json.Unmarshal(m.Data, s); err != nil {
		return nil, fault.New("fleet", "nats", nil, "use the same ivo here as where the run is under way", "what answers there does not say how a fleet is: %w", err)
	}
	return s, nil
}
