package cli

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// The values of a flag reach the verb byte for byte, by whichever of its names they come.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.SliceOfN(rapid.StringMatching(`[ -~\n\t,\[\]é]{0,6}`), 0, 4).Draw(t, "given")
		name := rapid.SampledFrom([]string{"-r", "--reverse-prompt"}).Draw(t, "name")
		var got []string
		app := &cli.App{Flags: []cli.Flag{stopFlag()}, Action: func(c *cli.Context) error {
			got = slices.Clone(textsOf(c, "reverse-prompt"))
			return nil
		}}
		args := []string{"ivo"}
		for _, text := range given {
			args = append(args, name, text)
		}
		if err := app.Run(args); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, given) {
			t.Fatal(cmp.Diff(given, got))
		}
	})
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{
		`a\nb\tc\rd`: "a\nb\tc\rd", `\'\"\\`: `'"\`, `\\n`: `\n`, `\`: `\`, `a\`: `a\`, `\q\`: `\q\`, `\0`: `\0`,
		`\x41\x0ab`: "A\nb", `\xff`: "\xff", `\x4`: `\x4`, `\x`: `\x`, `\xg1`: `\xg1`, `\x4g`: `\x4g`, `\x+1`: `\x+1`,
	} {
		if got := prompt.Unescape(s); got != want {
			t.Errorf("%s becomes %q, not %q", s, got, want)
		}
	}
}
