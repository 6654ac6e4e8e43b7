package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

func evalCommand() *cli.Command {
	const category = "Experiment"
	return &cli.Command{
		Name: "eval", Usage: "compare methods on your prompts by your rewards, as a recipe says",
		ArgsUsage: "RECIPE.yaml",
		Description: "A recipe names models, prompts, rewards, value functions, and methods with what is swept\n" +
			"over; docs/formats.md says how. All that is wrong with it is told before anything starts.\n" +
			"Run the same command again to continue one that was stopped, or one whose recipe has\n" +
			"changed: only what depends on the change is done anew. Examples:\n\n" +
			"  ivo eval recipe.yaml\n" +
			"  ivo eval recipe.yaml --out runs/compared\n" +
			"  ivo eval recipe.yaml --allow-commands",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "`DIRECTORY` of the results, made or continued", DefaultText: "runs/RECIPE", Category: category},
			&cli.BoolFlag{Name: "allow-commands", Usage: "start the programs that the recipe names in cmd: rewards", Category: category},
			&cli.BoolFlag{Name: "check", Usage: "find what is wrong with the recipe, and start nothing", Category: category},
		}, scoringFlags(category), fileFlags(), fleetFlags()),
		Action: evaluate,
	}
}

func evaluate(c *cli.Context) error {
	path := c.Args().First()
	if path == "" {
		return usagef(c, "no recipe (name a YAML file)")
	}
	x, err := recipe.Open(c.Context, path, recipe.Options{
		AllowCommands: c.Bool("allow-commands"), Timeout: c.Duration("reward-timeout"), Workers: c.Int("reward-workers"), Fleet: c.Bool("fleet"),
		Load: func(path string) (*llama.Model, error) { return loadFile(c, path) },
	})
	if err != nil {
		return err
	}
	defer x.Close()
	if c.Bool("check") {
		_, err := fmt.Fprintf(c.App.Writer, "%s: nothing is wrong with it: %d methods, %d prompts, %d seeds\n", path, len(x.Methods), len(x.Prompts.Test.Records), len(x.Seeds))
		return err
	}
	dir := c.String("out")
	if dir == "" {
		dir = filepath.Join("runs", strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	}
	var models []*llama.Model
	for _, p := range x.Policies {
		models = append(models, p.Model)
	}
	f, err := leadFleet(c, dir, x.Context, x.Parallel, models...)
	if err != nil {
		return err
	}
	led := f.Coordinator != nil
	if x.Own = f.own; led {
		x.Drawer, x.Elsewhere = f, f.Elsewhere
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	results, err := experiment.Run(c.Context, x, dir, func(e experiment.Event) {
		slog.Debug(e.Stage, "done", e.Done, "total", e.Total, "unit", e.Unit, "note", e.Note)
		if led {
			f.show(e.Stage)
			return
		}
		meter.Show(e.Stage, e.Done, e.Total, e.Unit, e.Note)
	})
	meter.Close()
	if err = f.end(c, err); err != nil {
		return again(c, err)
	}
	page := filepath.Join(dir, experiment.ReportFile)
	if err := report.WriteEvaluation(page, results); err != nil {
		return err
	}
	return report.ResultsTable(c.App.Writer, results, page)
}
