// Package valuehead estimates the value of a state, the reward that a response begun
// so will get in the end, from what the policy's own decoding yields: hidden states of
// tapped layers, log-probability features, and the states of the prompt.
//
// # Heads
//
// A [Head] is of one of four kinds. [Linear] and [MLP] see a row of features that
// [Features] lays out, with running means and extremes of what came before. [Recall]
// carries a learned memory along the response and looks back at the prompt: it finds the
// place that a token was copied from, by the tokens themselves and by their states, and
// remembers what it found. Every kind gives either the mean of the return or, with
// [Shape].Atoms, its distribution, from which [Reading] takes soft values for any beta and
// pessimistic ones. Trained on [CandidateFeatures], a Recall head values tokens before
// they are fed: it is the one-pass Q head of [Head.Candidates].
//
// A head of any kind may carry [Advantages]: a value that is a sum over the tokens of the
// response, by their embeddings, so that a table says before anything is fed what every token of
// the vocabulary adds. A head of the kind [Additive] is nothing else.
//
// # Training
//
// [Train] fits a head to the examples of a [Source], a [Dataset] in memory or [Stored] on disk, for
// a [Target]. The same data, options and seed give the same head. [Metrics] tell how good
// it is on prompts that were held out, and [OracleCeiling] how good a head could be.
//
// # Decoding
//
// [Head.Begin] makes the [Memory] of a response; a beam that forks takes a copy, every
// token is pushed, and [Head.Values] values many responses at once.
//
// A head is stored as a GGUF file of its own, bound to its backbone by a fingerprint;
// [Head.SaveSafetensors] exports it.
//
// The package takes plain float32 slices. It must not know llama.cpp, decoding or
// anything else above it, and it prints nothing.
//
// Method: Iterative Value Function Optimization, arXiv 2503.02368.
package valuehead
