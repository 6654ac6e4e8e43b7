package fleet

import "strings"

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

// ScoresQueue is the name of the queue of responses to score.
const ScoresQueue = scoresQueue
