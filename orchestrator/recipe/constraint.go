package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// constraintFields read what a sampling leaves of the vocabulary. They are not swept over.
func constraintFields(s *policy.Sampling) map[string]func(node) {
	from := "" // which of the four keys the grammar is of
	grammar := func(read func(node) (string, error)) func(node) {
		return func(n node) {
			if from != "" {
				n.wrong("give one of them", "there is %s already", from)
				return
			}
			from = n.name
			text, err := read(n)
			if err != nil {
				n.p.fail(n.Line, n.name, bare(err))
			}
			s.Grammar = text
		}
	}
	file := func(n node) ([]byte, error) {
		path, ok := n.text()
		if !ok {
			return nil, nil // which was said
		}
		text, err := os.ReadFile(path)
		if err != nil {
			err = fmt.Errorf("%w (check the path: it counts from the folder in which ivo is started)", err)
		}
		return text, err
	}
	schema := func(text []byte, err error) (string, error) {
		if err != nil || text == nil {
			return "", err
		}
		return jsongrammar.Of(text)
	}
	return map[string]func(node){
		"grammar": grammar(func(n node) (string, error) {
			text, _ := n.text()
			return text, nil
		}),
		"grammar_file": grammar(func(n node) (string, error) {
			text, err := file(n)
			return string(text), err
		}),
		"json_schema":      grammar(func(n node) (string, error) { return schema(n.json()) }),
		"json_schema_file": grammar(func(n node) (string, error) { return schema(file(n)) }),
		"ignore_eos":       setTruth(&s.IgnoreEOS),
		"logit_bias": func(n node) {
			n.entries(func(name string, _ int, n node) {
				token, err := strconv.ParseInt(name, 10, 32)
				bias, wrong := strconv.ParseFloat(n.Value, 64)
				if err != nil || token < 0 || wrong != nil || math.IsNaN(bias) || math.IsInf(bias, 1) {
					n.wrong("write the id of a token and its bias, such as 15043: 1 or 15043: -inf", "it is %s", n.kind())
					return
				}
				s.Bias(int32(token), bias)
			})
		},
	}
}

// json is the node as JSON, its keys in their order: that of what is written by a schema. A text is JSON itself.
func (n node) json() ([]byte, error) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return []byte(n.Value), nil
	}
	var v any
	if err := n.decode(&v); err != nil {
		return nil, fmt.Errorf("%w (write the schema as JSON, or as YAML that is JSON)", err)
	}
	var out bytes.Buffer
	err := writeJSON(&out, n.Node)
	return out.Bytes(), err
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.AliasNode:
		return writeJSON(out, n.Alias)
	case yaml.MappingNode, yaml.SequenceNode:
		brackets := map[yaml.Kind]string{yaml.MappingNode: "{}", yaml.SequenceNode: "[]"}[n.Kind]
		out.WriteByte(brackets[0])
		for i, c := range n.Content {
			switch {
			case n.Kind == yaml.MappingNode && i%2 == 1:
				out.WriteByte(':')
			case i > 0:
				out.WriteByte(',')
			}
			if n.Kind == yaml.MappingNode && i%2 == 0 { // a key, which is a text whatever it looks like
				c = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: c.Value}
			}
			if err := writeJSON(out, c); err != nil {
				return err
			}
		}
		out.WriteByte(brackets[1])
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return fmt.Errorf("%w (write the schema as JSON, or as YAML that is JSON)", err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w (write the schema as JSON, or as YAML that is JSON)", err)
	}
	out.Write(text)
	return nil
}
