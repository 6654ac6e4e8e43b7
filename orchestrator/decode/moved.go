package decode

import (
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// These are in packages policy and value; the names here go when nobody uses them.
type (
	Sampling = policy.Sampling
	Source   = value.Source
)

var (
	Key          = policy.Key
	HeadSource   = value.Head
	PrefixSource = value.Prefix
	Scalars      = value.Scalars
)
