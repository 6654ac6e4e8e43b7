package recipe_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// A sweep makes a method of every value.
func ExampleRead() {
	r, err := recipe.Read("testdata/good.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range r.Methods[:3] {
		fmt.Println(m.ID)
	}
	// Output:
	// base
	// best of 2
	// best of 4
}
