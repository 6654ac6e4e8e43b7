package fault_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
)

func TestError(t *testing.T) {
	err := fault.New("decode", "ctx", 256, "raise {ctx}, lower {max_tokens}, or write {\"a\": 1} {unknown}", "%d tokens: %w", 300, fs.ErrInvalid)
	want := `decode: 300 tokens: invalid argument (raise the context size, lower the response length, or write {"a": 1} {unknown})`
	if err.Error() != want {
		t.Errorf("got %s\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrInvalid) || err.Limit != 256 || err.Field != "ctx" {
		t.Errorf("got %#v", err)
	}
	old := fault.Name
	defer func() { fault.Name = old }()
	fault.Name = func(f fault.Field) string { return "-" + string(f) }
	if got := fault.Spell("raise {ctx}"); got != "raise -ctx" {
		t.Error(got)
	}
}
