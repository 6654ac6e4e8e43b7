package llama_test

import (
	"os"
	"os/exec"
	"testing"
)

// A context ends without a look at memory that it has freed: glibc writes over that here.
func TestContextEnds(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestUseAfterClose$")
	cmd.Env = append(os.Environ(), "MALLOC_PERTURB_=165", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%.2000s", err, out)
	}
}
