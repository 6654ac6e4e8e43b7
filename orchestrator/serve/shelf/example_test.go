package shelf_test

import (
	"fmt"
	"log"
	"os"

	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
)

// Files are read by the ids of the list, not by their paths.
func Example() {
	f, err := os.CreateTemp("", "prompts-*.jsonl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	fmt.Fprintln(f, `{"prompt": "i found a lamp"}`)
	f.Close()

	s, err := shelf.Open("", f.Name())
	if err != nil {
		log.Fatal(err)
	}
	lists, err := s.Prompts()
	if err != nil {
		log.Fatal(err)
	}
	records, err := s.Records(lists[0].ID)
	fmt.Println(shelf.Conversation(records[0]), err)
	_, err = s.Records(f.Name())
	fmt.Println(err)
	// Output:
	// [{user i found a lamp map[]}] <nil>
	// file does not exist
}
