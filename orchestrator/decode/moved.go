package decode

import "github.com/ivo-decoding/ivo/orchestrator/policy"

// Sampling and Key are in package policy; these names go when nobody uses them.
type Sampling = policy.Sampling

var Key = policy.Key
