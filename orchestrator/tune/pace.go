package tune

import (
	"fmt"
	"time"
)

// pace foretells how long the rest takes, from what has been done since the tuning was begun or continued.
type pace struct {
	steps, answers  int     // that are left: of trainings, and of policies that answer
	step, answering float64 // seconds that one takes, 0 while that is not known
	at              map[*setting]int
}

// begin notes what is to be done.
func (p *pace) begin(settings []*setting, each int) {
	p.at, p.steps, p.answers = map[*setting]int{}, 0, 0
	for _, s := range settings {
		p.steps += s.Steps
		p.answers += min(each, len(s.candidates))
	}
}

// reached notes that a training has come to a step, at so many seconds a step.
func (p *pace) reached(s *setting, step int, seconds float64) {
	p.steps -= step - p.at[s]
	p.at[s] = step
	if seconds > 0 {
		p.step = seconds
	}
}

// answered notes that a policy has answered, now or earlier.
func (p *pace) answered(earlier bool, took time.Duration) {
	p.answers--
	if !earlier {
		p.answering = took.Seconds()
	}
}

// left says about how long the rest takes.
func (p *pace) left() string {
	if p.step == 0 || p.steps == 0 {
		return ""
	}
	rest := time.Duration((float64(p.steps)*p.step + float64(max(0, p.answers))*p.answering) * float64(time.Second))
	return fmt.Sprintf(", about %v left", rest.Round(max(time.Second, rest.Round(time.Minute)/60)))
}
