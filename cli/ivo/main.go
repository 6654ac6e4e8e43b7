// Command ivo steers a GGUF language model at decoding time with a value function that
// it learned from the model's own rollouts.
package main

import (
	"os"

	"github.com/ivo-decoding/ivo/cli"
)

func main() { os.Exit(cli.Main(os.Args, os.Stdout, os.Stderr)) }
