package head

// Fed is the number of tokens that were read of answers that are followed.
func (r *Reader) Fed() (int, error) {
	p, err := r.follower.c.Perf()
	return p.PromptTokens + p.DecodeTokens, err
}
