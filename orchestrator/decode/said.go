package decode

// Said is a token of a response that nothing takes back, and what is known of it.
type Said struct {
	Token   int32
	LogProb float32 // of the model at temperature 1
	Value   float32 // of the state after it, NaN where it was not asked for
	// The likeliest tokens of the state before it, as many as [Request.TopLogProbs] says.
	Candidates        []int32
	CandidateLogProbs []float32
}

// Said are the tokens of the response.
func (r *Response) Said() []Said {
	out := make([]Said, len(r.Tokens))
	for i, token := range r.Tokens {
		out[i] = Said{Token: token, LogProb: r.LogProbs[i], Value: nan}
		if r.Values != nil {
			out[i].Value = r.Values[i]
		}
		if k := len(r.Candidates) / len(r.Tokens); k > 0 {
			out[i].Candidates, out[i].CandidateLogProbs = r.Candidates[i*k:(i+1)*k], r.CandidateLogProbs[i*k:(i+1)*k]
		}
	}
	return out
}

// emitTokens hands out the tokens that all candidates begin with beyond those that were handed out before.
func (d *decoder) emitTokens(cs []*candidate) {
	last, n := sharedBy(cs)
	if n <= d.told {
		return
	}
	out := make([]Said, n-d.told)
	for i := len(out) - 1; i >= 0; i, last = i-1, last.parent {
		out[i] = Said{last.Token, last.logp, last.value, last.likely, last.likelyP}
	}
	d.told = n
	d.req.EmitTokens(out)
}

// sharedBy is the last token that all candidates have in common, and the number of those.
func sharedBy(cs []*candidate) (last *node, n int) {
	last, n = cs[0].last, cs[0].Length
	for _, c := range cs[1:] {
		other, m := c.last, c.Length
		for ; n > m; n-- {
			last = last.parent
		}
		for ; m > n; m-- {
			other = other.parent
		}
		for ; last != other; n-- {
			last, other = last.parent, other.parent
		}
	}
	return last, n
}
