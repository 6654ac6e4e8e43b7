package head

// Fed is the number of tokens that were read of answers that are followed.
func (r *Reader) Fed() (int, error) {
	n := 0
	for _, f := range r.followers {
		p, err := f.c.Perf()
		if err != nil {
			return 0, err
		}
		n += p.PromptTokens + p.DecodeTokens
	}
	return n, nil
}
