package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Target names what a head's values are fitted to.
type Target string

const (
	MonteCarloReturn Target = "monte-carlo" // [MonteCarlo]
	FUDGE            Target = "fudge"       // [MonteCarlo] of one response to each prompt
	TDLambda         Target = "td"          // [LambdaReturns]
	CDQ              Target = "cd-q"        // [NextValues]; of a fit in closed form [LambdaReturns] of lambda 0
)

// Targets are all of them that have a value for every state; [Preference] is for pairs.
var Targets = []Target{MonteCarloReturn, FUDGE, TDLambda, CDQ}

func (t Target) validate() error {
	for _, known := range Targets {
		if t == known {
			return nil
		}
	}
	if t == Preference {
		return nil
	}
	return fault.New(op, "", nil, fmt.Sprintf("choose from %q", Targets), "unknown target %q", t)
}
