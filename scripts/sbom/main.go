// Command sbom writes what ivo is made of, as CycloneDX has it: the Go modules that are linked in, with their
// licences, by cyclonedx-gomod, and llama.cpp, which a module carries or another build is linked with.
//
//	go run ./scripts/sbom -program bin/ivo -out dist/ivo.cdx.json
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/llama"
)

const tool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	program := flag.String("program", "bin/ivo", "`FILE` of the program")
	version := flag.String("version", "", "`VERSION` of the program")
	out := flag.String("out", "dist/ivo.cdx.json", "`FILE` to write")
	flag.Parse()
	if err := run(ctx, *program, *version, *out); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program, version, out string) error {
	dir, err := os.MkdirTemp("", "ivo-sbom")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	install := exec.CommandContext(ctx, "go", "install", tool)
	install.Env, install.Stderr = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0"), os.Stderr
	if err := install.Run(); err != nil {
		return fmt.Errorf("%s: %w (see above)", tool, err)
	}
	list := exec.CommandContext(ctx, filepath.Join(dir, "cyclonedx-gomod"), "bin", "-json", "-licenses", "-std", "-version", cmp.Or(version, "0"), program)
	// What the program was built from is in the module cache, but for ivo itself, which is no module to ask others for.
	list.Env, list.Stderr = append(os.Environ(), "GOPROXY=off"), os.Stderr
	text, err := list.Output()
	if err != nil {
		return fmt.Errorf("%s: %w (see above)", tool, err)
	}
	var bom map[string]any
	if err := json.Unmarshal(text, &bom); err != nil {
		return fmt.Errorf("%s: %w", tool, err)
	}
	if err := add(bom, version, component(llama.Build())); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(bom, "", " "); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(out, append(text, '\n')); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}

// versions are a commit's or a release's in what a build says of its llama.cpp.
var versions = regexp.MustCompile(`\b(b[0-9]{4,}|[0-9a-f]{7,40})\b`)

// component is llama.cpp, with ggml, in the version that a build names.
func component(build string) map[string]any {
	version := versions.FindString(build)
	purl := "pkg:github/ggml-org/llama.cpp"
	if version != "" {
		purl += "@" + version
	}
	return map[string]any{
		"type": "library", "bom-ref": purl, "purl": purl, "name": "llama.cpp", "version": version, "scope": "required",
		"description": strings.TrimSpace("llama.cpp and ggml: " + build),
		"licenses":    []any{map[string]any{"license": map[string]any{"id": "MIT"}}},
	}
}

// add adds a component that the program depends on, and the program's version, if there is one.
func add(bom map[string]any, version string, c map[string]any) error {
	main, ok := bom["metadata"].(map[string]any)
	if ok {
		main, ok = main["component"].(map[string]any)
	}
	components, has := bom["components"].([]any)
	if !ok || !has {
		return fmt.Errorf("%s wrote no list of components", tool)
	}
	if version != "" {
		main["version"] = version
	}
	bom["components"] = append(components, c)
	depends, _ := bom["dependencies"].([]any)
	for _, d := range depends {
		if d, ok := d.(map[string]any); ok && d["ref"] == main["bom-ref"] {
			on, _ := d["dependsOn"].([]any)
			d["dependsOn"] = append(on, c["bom-ref"])
		}
	}
	bom["dependencies"] = append(depends, map[string]any{"ref": c["bom-ref"]})
	return nil
}
