package value

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/cache"
)

// sameVocabulary says whether a policy's tokens are the value model's own.
func (v *Model) sameVocabulary(policy *llama.Model) bool {
	v.vocabulary.Lock()
	defer v.vocabulary.Unlock()
	if v.policy != policy {
		const tokens = "tokenizer.ggml.tokens"
		ours, _ := v.model.Metadata().Value(tokens).([]string)
		theirs, _ := policy.Metadata().Value(tokens).([]string)
		v.policy = policy
		v.same = v.model == policy || v.model.Info().Vocab == policy.Info().Vocab && slices.Equal(ours, theirs)
	}
	return v.same
}

// translation turns a policy's text into the tokens of a model with another vocabulary.
type translation struct {
	policy, model *llama.Model
	prompt        []int32 // the model's tokens of the prompt
	tail          string  // the prompt's text after its last special token
	ofTail        []int32 // its tokens, the prompt's last ones
	addsSpace     bool    // the tokenizer puts a space before a text
}

// newTranslation translates a prompt. The policy's special tokens are taken over where the
// model has a special token of the same text, and left out elsewhere.
func newTranslation(policy, model *llama.Model, prompt []int32) (*translation, error) {
	t := &translation{policy: policy, model: model}
	first, err := model.Tokenize("a", false, false)
	if err != nil {
		return nil, err
	}
	if len(first) > 0 {
		piece, err := model.Piece(first[0], false)
		if err != nil {
			return nil, err
		}
		t.addsSpace = bytes.HasPrefix(piece, []byte(" "))
	}
	if model.AddBOS() && model.BOS() >= 0 {
		t.prompt = append(t.prompt, model.BOS())
	}
	for i := 0; i < len(prompt); {
		special, err := t.special(prompt[i])
		if err != nil {
			return nil, err
		}
		if special != "" {
			if prompt[i] != policy.BOS() {
				if err := t.addSpecial(special); err != nil {
					return nil, err
				}
			}
			i++
			continue
		}
		from := i
		for ; i < len(prompt) && special == ""; i++ {
			if special, err = t.special(prompt[i]); err != nil {
				return nil, err
			}
			if special != "" {
				break
			}
		}
		text, err := policy.Detokenize(prompt[from:i], false)
		if err != nil {
			return nil, err
		}
		if t.tail, t.ofTail, err = t.add(text); err != nil {
			return nil, err
		}
	}
	if len(t.prompt) == 0 {
		return nil, fault.New("value model", "prompt", nil, "give it a text", "the prompt has none that it can read")
	}
	return t, nil
}

// special is the text of a control token, empty for other tokens.
func (t *translation) special(token int32) (string, error) {
	plain, err := t.policy.Piece(token, false)
	if err != nil || len(plain) > 0 {
		return "", err
	}
	text, err := t.policy.Piece(token, true)
	return string(text), err
}

func (t *translation) addSpecial(text string) error {
	ids, err := t.model.Tokenize(text, false, true)
	if err != nil || len(ids) != 1 {
		return err
	}
	token, err := t.model.Token(ids[0])
	if err == nil && token.Attr&llama.AttrControl != 0 {
		t.prompt, t.tail, t.ofTail = append(t.prompt, ids[0]), "", nil
	}
	return err
}

// add appends a text to the prompt.
func (t *translation) add(text string) (string, []int32, error) {
	text = t.tail + text // a special token that was left out parts nothing
	ids, err := t.model.Tokenize(text, false, false)
	t.prompt = append(t.prompt[:len(t.prompt)-len(t.ofTail)], ids...)
	return text, ids, err
}

// response is the tokens of a response of which text has been written, last being the policy's
// last token. A character that is not complete yet is left out, and so is the rest of a
// text that the policy does not go on with.
func (t *translation) response(text []byte, last int32) ([]int32, error) {
	s := strings.ToValidUTF8(string(complete(text)), string(utf8.RuneError))
	ids, err := t.model.Tokenize(t.tail+s, false, false)
	if err != nil {
		return nil, err
	}
	if cache.Common(ids, t.ofTail) == len(t.ofTail) {
		ids = ids[len(t.ofTail):]
	} else {
		// The prompt's end and the response's beginning make up one token, which the policy
		// never sees either.
		if t.addsSpace {
			s = strings.TrimPrefix(s, " ")
		}
		if ids, err = t.model.Tokenize(s, false, false); err != nil {
			return nil, err
		}
	}
	if end := t.end(last); end >= 0 {
		ids = append(ids, end)
	}
	return ids, nil
}

// end is the model's counterpart of an end-of-generation token, -1 of other tokens.
func (t *translation) end(token int32) int32 {
	if token < 0 || !t.policy.IsEOG(token) {
		return -1
	}
	eos, eot := t.model.EOS(), t.model.EOT()
	if eot >= 0 && (eos < 0 || token == t.policy.EOT() && token != t.policy.EOS()) {
		return eot
	}
	return eos
}

// complete is the text without a character at its end that lacks bytes.
func complete(text []byte) []byte {
	for i := 1; i <= min(utf8.UTFMax, len(text)); i++ {
		if b := text[len(text)-i:]; utf8.RuneStart(b[0]) {
			if !utf8.FullRune(b) {
				return text[:len(text)-i]
			}
			break
		}
	}
	return text
}
