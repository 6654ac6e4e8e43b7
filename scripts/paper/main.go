// Command paper carries out the experiments of the paper (arXiv 2503.02368) and writes a document that has each of
// its tables and figures, with its own numbers beside ours, and says of each claim whether it holds here.
//
// The experiments are recipes, in this folder; orchestrator/experiment carries them out. What a method gave under a
// seed is a small file in the repository, so that the next start goes on from there, on any machine: one that has
// all of them writes the document in seconds. Run it with make paper, or make paper-real for the real model.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// effort is how much of the recipes is done.
type effort struct {
	name string
	recipe.Most
}

// efforts by name: quick shows that all of it works, default is the same in the lab under more seeds, so that it goes on
// from there, and full is what the recipes say.
var efforts = map[string]effort{
	"quick":   {"quick", recipe.Most{Train: 200, Validation: 10, Test: 40, Seeds: 1}},
	"default": {"default", recipe.Most{Train: 200, Validation: 10, Test: 40, Seeds: 3}},
	"large":   {"large", recipe.Most{Train: 1000, Validation: 50, Test: 150, Seeds: 3}},
	"full":    {"full", recipe.Most{}},
}

// realMost is what the same efforts take of the real model's recipes, where an answer takes a hundred times as long.
// There default does not go on from quick: what 60 prompts teach says little of another model.
var realMost = map[string]recipe.Most{
	"quick":   {Train: 60, Validation: 8, Test: 24, Seeds: 1},
	"default": {Train: 200, Validation: 16, Test: 100, Seeds: 3},
	"large":   {Train: 400, Validation: 50, Test: 150, Seeds: 3},
}

// paper is one start of the command.
type paper struct {
	effort
	recipes, out, cells, doc string
	only                     string
	kept, real               bool
	few                      bool // fewer seeds than the effort's
	show                     func(stage string, done, total int, unit, note string)
}

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	p := paper{}
	name := flag.String("effort", "default", "quick, default, large or full")
	flag.StringVar(&p.recipes, "recipes", "scripts/paper", "folder of the recipes")
	flag.StringVar(&p.out, "out", "runs/paper", "folder of what takes work: runs, answers")
	flag.StringVar(&p.cells, "cells", "docs/paper/cells", "folder of what methods gave, which is kept")
	flag.StringVar(&p.doc, "report", "", "file of the document; docs/paper.md by default, docs/paper-real.md with -real")
	flag.StringVar(&p.only, "only", "", "carry out this recipe alone; of the others, tell what is kept")
	flag.BoolVar(&p.kept, "kept", false, "make nothing: write the document of the cells that are there")
	seeds := flag.Int("seeds", 0, "take no more seeds than this")
	flag.BoolVar(&p.real, "real", false, "the real model's recipes in place of the lab's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	meter := terminal.NewMeter(os.Stderr)
	p.show = meter.Show
	p.Seeds = *seeds
	err := p.run(ctx, *name)
	meter.Close()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("stopped (the same command goes on from what is finished)")
		}
		fmt.Fprintln(os.Stderr, "paper:", err)
		os.Exit(1)
	}
	fmt.Println("document:", p.doc)
}

func (p *paper) run(ctx context.Context, name string) (err error) {
	seeds, ok := p.Seeds, false
	if p.effort, ok = efforts[name]; ok && p.real {
		p.Most = realMost[name]
	} else if !ok {
		return fmt.Errorf("there is no effort %q (choose quick, default, large or full)", name)
	}
	if seeds > 0 && (p.Seeds == 0 || seeds < p.Seeds) { // 0 for all that the recipes have
		p.few, p.Seeds = true, seeds
	}
	if p.doc == "" {
		p.doc = "docs/paper.md"
		if p.real {
			p.doc = "docs/paper-real.md"
		}
	}
	var all []*study
	for _, s := range studies(p.real) {
		if err := p.carryOut(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, s)
	}
	return p.write(all)
}

// carryOut has a study's recipe carried out, as far as its cells are not there.
func (p *paper) carryOut(ctx context.Context, s *study) error {
	path, lacks, err := p.recipe(s.name)
	if s.lacks = lacks; err != nil || lacks != "" {
		return err
	}
	r, err := recipe.Read(path)
	if err != nil {
		return err
	}
	if s.lacks = missing(r); s.lacks != "" {
		return nil
	}
	only := p.kept || p.only != "" && p.only != s.name
	for most := p.most(s); ; most.Seeds = len(s.x.Seeds) - 1 {
		if err := p.keep(ctx, s, path, most, only); err != nil {
			return err
		}
		if !only || len(s.missing) == 0 || len(s.x.Seeds) < 2 { // else fewer seeds may have all of it
			break
		}
	}
	if len(s.rows) == 0 {
		s.lacks = "nothing of it is kept yet"
	}
	return nil
}

// keep takes what a study's recipe gives of at most so many prompts and seeds.
func (p *paper) keep(ctx context.Context, s *study, path string, most recipe.Most, only bool) error {
	x, err := recipe.Open(ctx, path, recipe.Options{Most: most})
	if err != nil {
		return err
	}
	defer x.Close()
	out, cells := filepath.Join(p.out, s.name), filepath.Join(p.cells, s.name)
	kept, err := experiment.Keep(ctx, x, experiment.Keeping{Dir: out, Cells: cells, Only: only, Notify: func(e experiment.Event) {
		p.show(s.name+": "+e.Stage, e.Done, e.Total, e.Unit, e.Note)
	}})
	if err != nil {
		return err
	}
	if s.take(x, kept); len(s.rows) > 0 && s.timed > 0 {
		s.times, err = p.time(ctx, x, s.timed, out, cells, only)
	}
	return err
}

// most is what the effort takes of a study.
func (p *paper) most(s *study) recipe.Most {
	most := p.Most
	if s.paired {
		most.Validation, most.Test = 2*most.Validation, 2*most.Test
	}
	if n := s.mixture; n > 0 {
		most.Train, most.Validation, most.Test = n*most.Train, n*most.Validation, 2*most.Test
	}
	return most
}

// missing names a file of a recipe that is not there: a model or prompts that are still to be made.
func missing(r *recipe.Recipe) string {
	files := []string{r.Prompts.Train.File, r.Prompts.Validation.File, r.Prompts.Test.File}
	for _, m := range r.Models {
		files = append(files, m.File)
	}
	for _, file := range files {
		if _, err := os.Stat(file); file != "" && err != nil {
			return "there is no " + file
		}
	}
	return ""
}
