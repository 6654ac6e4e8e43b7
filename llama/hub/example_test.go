package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/llama/hub"
)

// What llama.cpp has downloaded is found where it lies; what is not there may not be fetched
// without the network.
func ExampleRepo() {
	cache, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(cache)
	if err := os.WriteFile(filepath.Join(cache, "user_small_small-Q8_0.gguf"), []byte("GGUF"), 0o644); err != nil {
		log.Fatal(err)
	}
	o := hub.Options{CacheDir: cache, Offline: true}

	path, err := hub.Repo(context.Background(), "user/small:Q8_0", "", o)
	fmt.Println(filepath.Base(path), err)

	_, err = hub.Repo(context.Background(), "user/large", "", o)
	fmt.Println(errors.Is(err, hub.ErrNotCached))
	// Output:
	// user_small_small-Q8_0.gguf <nil>
	// true
}
