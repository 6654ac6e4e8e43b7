package fleet

// Queue is the name of the queue of a model's shards.
func Queue(model string) string { return queue(model) }
