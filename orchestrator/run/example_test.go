package run_test

import (
	"fmt"
	"log"
	"os"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// A step is done if its file is there with the key of what it is made from.
func Example() {
	parent, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)
	d, err := run.Open(parent + "/mine")
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	name := run.Trajectories(1, run.Shard{Index: 0})
	collect := func(seed int) {
		key := run.Key("collect", seed)
		done, err := d.Done(name, key)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("seed", seed, "done:", done)
		if done {
			return
		}
		if err := run.PutLines(d, name, key, nil, nil, []string{"a response", "another"}); err != nil {
			log.Fatal(err)
		}
	}
	collect(1)
	collect(1)
	collect(2) // another key: what is there does not count

	_, lines, err := run.Lines[string](d.Path(name))
	fmt.Println(name, len(lines), err)
	// Output:
	// seed 1 done: false
	// seed 1 done: true
	// seed 2 done: false
	// iter-01/trajectories/0000.jsonl.zst 2 <nil>
}
