package batch

// Own is told what this machine draws and scores itself of what others may have a part in. Its zero value tells nobody.
type Own struct {
	Drew   func(file string, tokens int64) // a file of responses, for which so many tokens were decoded
	Scored func(file string)               // a file of scores, or of verdicts
}

// Responses tells of a file of responses.
func (o Own) Responses(file string, all []Response) {
	if o.Drew == nil {
		return
	}
	tokens := int64(0)
	for _, r := range all {
		tokens += int64(r.Decoded)
	}
	o.Drew(file, tokens)
}

// Scores tells of a file of scores or verdicts.
func (o Own) Scores(file string) {
	if o.Scored != nil {
		o.Scored(file)
	}
}

// Under tells of files in a folder of what is done.
func (o Own) Under(folder string) Own {
	if o.Drew == nil {
		return o
	}
	return Own{
		Drew:   func(file string, tokens int64) { o.Drew(folder+"/"+file, tokens) },
		Scored: func(file string) { o.Scored(folder + "/" + file) },
	}
}
