package fleet

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Queue is the name of the queue of a model's shards.
func Queue(model string) string { return queue(model) }

// Drawn is the number of files that workers have drawn so far.
func (c *Coordinator) Drawn() int {
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	n := 0
	for name := range c.drawn {
		if !strings.HasPrefix(name, "rewards/") {
			n++
		}
	}
	return n
}

// Options are those of a connection by the invitation.
func (i Invite) Options() []nats.Option { return i.options() }

// ScoresQueue is the name of the queue of responses to score.
const ScoresQueue = scoresQueue

// SetPartSize sets the bytes of a file's part, and returns what they were.
func SetPartSize(n int64) (before int64) {
	before, partSize = partSize, n
	return before
}

// Takers is the number of results that are checked and written at once.
const Takers = takers

// Persist does again what a cluster does not answer, as a coordinator on one does.
func Persist(ctx context.Context, do func() error) error { return (&Coordinator{}).persist(ctx, do) }

// SetIdle sets how long nothing follows on pieces of a result that nobody goes on with, and returns what it was.
func SetIdle(d time.Duration) (before time.Duration) {
	before, idle = idle, d
	return before
}
