package fleet

// Queue is the name of the queue of a model's shards.
func Queue(model string) string { return queue(model) }

// Drawn is the number of files that workers have drawn so far.
func (c *Coordinator) Drawn() int {
	c.crew.mu.Lock()
	defer c.crew.mu.Unlock()
	return len(c.drawn)
}
