// Package valuehead estimates the value of a state, the reward that a response begun
// so will get in the end, from what the policy's own decoding yields: hidden states of
// tapped layers and log-probability features.
//
// [Features] lays out a head's input row and [Accumulator] fills it token by token, in
// decoding and in training alike. A [Dataset] holds such rows with their targets, [Train]
// fits a [Head] to them, and [Head.Predict] scores states in units of reward. A head is
// stored as a GGUF file of its own, bound to its backbone by a fingerprint.
//
// The package takes plain float32 slices. It must not know llama.cpp, decoding or
// anything else above it, and it prints nothing.
//
// Method: Iterative Value Function Optimization, arXiv 2503.02368.
package valuehead
