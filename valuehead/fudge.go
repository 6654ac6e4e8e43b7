package valuehead

// firsts are the entries that FUDGE's predictor learns from: the first response to each
// prompt. Every prefix of a text is labelled with the outcome of that text (arXiv 2104.05218,
// section 3; with a real reward in place of a class, the regression of arXiv 2310.17022), and
// the texts are draws from the language model that is to be steered, one for each prompt.
// Later rounds add texts of a policy that is steered already: they are none of these.
func firsts(entries []entry) (out []entry) {
	seen := make(map[string]bool)
	for _, e := range entries {
		if !seen[e.prompt] {
			seen[e.prompt] = true
			out = append(out, e)
		}
	}
	return out
}
