package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is listed is read, and only what it says is let through.
func TestCompare(t *testing.T) {
	text, err := os.ReadFile("../../" + listed)
	if err != nil {
		t.Fatal(err)
	}
	if known, err := read(text); err != nil || len(known) == 0 {
		t.Errorf("%v, %v", known, err)
	}
	found, err := findings([]byte(`{"config":{}}
{"osv":{"id":"GO-1"}}
{"finding":{"osv":"GO-1","trace":[{"module":"a.b/c"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"a.b/c","package":"a.b/c/x"}]}}
{"finding":{"osv":"GO-3","trace":[{"module":"a.b/c","package":"a.b/c/x","function":"F"}]}}`))
	if diff := cmp.Diff(map[string]string{"GO-2": "a.b/c", "GO-3": "a.b/c"}, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
	known := []module{{"a.b/c", []string{"x/"}, map[string]string{"GO-2": "why", "GO-4": "why"}}}
	want := []string{
		"GO-3 is in a.b/c: https://pkg.go.dev/vuln/GO-3", "GO-4 of a.b/c is listed, and not found any more",
		"a.b/c/xy is linked, which " + listed + " does not have",
	}
	if diff := cmp.Diff(want, compare(found, known, []string{"a.b/c/x", "a.b/c/x/y", "a.b/c/xy", "fmt"})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(0, len(compare(map[string]string{"GO-2": "a.b/c", "GO-4": "a.b/c"}, known, nil))); diff != "" {
		t.Error(diff)
	}
}
