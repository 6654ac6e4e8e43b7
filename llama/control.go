package llama

// Special is a token that is recognised as a whole where a text spells it.
type Special struct {
	ID   int32
	Text string // its spelling
	Attr TokenAttr
}

// Parsed says whether the spelling is recognised only where [Model.Tokenize] is told to parse;
// tokens that a model's makers added as text are recognised everywhere.
func (s Special) Parsed() bool { return s.Attr&(AttrControl|AttrUnknown) != 0 }

// Specials are the tokens that texts may spell, by their ids.
func (m *Model) Specials() ([]Special, error) {
	var out []Special
	for id := range int32(m.info.Vocab) {
		t, err := m.Token(id)
		if err != nil {
			return nil, err
		}
		if t.Attr&(AttrControl|AttrUnknown|AttrUserDefined) != 0 && t.Text != "" {
			out = append(out, Special{id, t.Text, t.Attr})
		}
	}
	return out, nil
}
