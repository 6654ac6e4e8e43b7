package reward

import (
	"fmt"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// Carry is a spec with other files: move is told of each that it reads, and gives what stands for it. So a
// reward can be opened on another machine, where its files have other names. It is an error where the spec
// names a program or a server: those are asked by whoever named them, and by nobody on their word.
func Carry(spec string, move func(file string) (string, error)) (string, error) {
	terms, err := parse(spec)
	if err != nil {
		return "", err
	}
	if err := carry(terms, move); err != nil {
		return "", err
	}
	return spell(terms, false), nil
}

func carry(terms []term, move func(file string) (string, error)) (err error) {
	for i := range terms {
		t := &terms[i]
		for _, of := range t.of {
			if err := carry(of, move); err != nil {
				return err
			}
		}
		if t.of != nil {
			continue
		}
		how := kinds[t.kind].carry
		if how == nil {
			return stays(t)
		}
		argument, err := how(t.argument, move)
		if err != nil {
			return err
		}
		if t.argument != "" && argument == "" {
			return stays(t)
		}
		t.argument = argument
	}
	return nil
}

func stays(t *term) error {
	return fault.New("", "reward", nil, "", "%s is asked by the machine alone on which somebody has named it", discreet(t.kind+":"+t.argument))
}

// unmoved is the argument of a reward that reads no files.
func unmoved(argument string, _ func(string) (string, error)) (string, error) { return argument, nil }

func carryJSON(argument string, move func(string) (string, error)) (string, error) {
	path, fenced := strings.CutPrefix(argument, "fenced")
	path, named := strings.CutPrefix(path, ":")
	if path == "" || fenced && !named {
		return argument, nil
	}
	path, err := move(path)
	if fenced {
		path = "fenced:" + path
	}
	return path, err
}

func carryHead(argument string, move func(string) (string, error)) (string, error) {
	path, of := splitHead(argument)
	if path == "" || of == "" {
		return "", badArgument("head", argument, "head:REWARD.gguf@MODEL.gguf")
	}
	path, err := move(path)
	if err != nil {
		return "", err
	}
	of, err = move(of)
	return fmt.Sprintf("%s@%s", path, of), err
}

func carryClassifier(argument string, move func(string) (string, error)) (string, error) {
	label, path := splitClass(argument)
	path, err := move(path)
	if label != "" {
		path = label + "@" + path
	}
	return path, err
}

func carryJudge(argument string, move func(string) (string, error)) (string, error) {
	return judge.Carry(argument, move)
}
