// Command vulns asks govulncheck for known vulnerabilities of what ivo links, and holds what it finds against
// third_party/vulnerabilities.yaml, where those are listed that do not concern ivo, with the reason.
//
//	go run ./scripts/vulns [-db URL]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	tool   = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	listed = "third_party/vulnerabilities.yaml"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	db := flag.String("db", "https://vuln.go.dev", "`URL` of the vulnerability database; file:// for a folder")
	flag.Parse()
	if err := run(ctx, *db); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "vulns:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, db string) error {
	text, err := os.ReadFile(listed)
	if err != nil {
		return fmt.Errorf("%w (run it at the root of the repository)", err)
	}
	known, err := read(text)
	if err != nil {
		return err
	}
	check := exec.CommandContext(ctx, "go", "run", tool, "-db", db, "-format", "json", "./...")
	check.Stderr = os.Stderr
	out, err := check.Output()
	if err != nil {
		return fmt.Errorf("govulncheck: %w (see above; -db names another database)", err)
	}
	found, err := findings(out)
	if err != nil {
		return err
	}
	deps := exec.CommandContext(ctx, "go", "list", "-deps", "./...")
	deps.Stderr = os.Stderr
	packages, err := deps.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	problems := compare(found, known, strings.Fields(string(packages)))
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems (update the module, or list in %s why it does not concern ivo)", len(problems), listed)
	}
	fmt.Printf("no vulnerability is known that concerns ivo; %d of modules of which ivo links other parts\n", len(found))
	return nil
}

// module is one with entries that do not concern ivo.
type module struct {
	Module  string            `yaml:"module"`
	Linked  []string          `yaml:"linked"`   // packages of it that may be linked, by what they begin with
	NotOurs map[string]string `yaml:"not_ours"` // why, by id
}

func read(text []byte) (all []module, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s: %w", listed, err)
	}
	return all, nil
}

// findings are the vulnerabilities of which govulncheck says that what they are in is linked: the module by id.
func findings(out []byte) (map[string]string, error) {
	found := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var message struct {
			Finding *struct {
				OSV   string
				Trace []struct{ Module, Package string }
			}
		}
		switch err := dec.Decode(&message); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("govulncheck's answer: %w", err)
		}
		if f := message.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Package != "" {
			found[f.OSV] = f.Trace[0].Module
		}
	}
}

// compare says what is found and not listed, what is listed and not found, and what of a listed module is linked
// though it should not be.
func compare(found map[string]string, known []module, packages []string) (problems []string) {
	why := map[string]string{}
	for _, m := range known {
		for id, reason := range m.NotOurs {
			if why[id] = reason; found[id] != m.Module {
				problems = append(problems, fmt.Sprintf("%s of %s is listed, and not found any more", id, m.Module))
			}
		}
		for _, p := range packages {
			rest, in := strings.CutPrefix(p, m.Module+"/")
			if in && !slices.ContainsFunc(m.Linked, func(part string) bool { return strings.HasPrefix(rest+"/", part) }) {
				problems = append(problems, fmt.Sprintf("%s is linked, which %s does not have", p, listed))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if why[id] == "" {
			problems = append(problems, fmt.Sprintf("%s is in %s: https://pkg.go.dev/vuln/%s", id, found[id], id))
		}
	}
	slices.Sort(problems)
	return problems
}
