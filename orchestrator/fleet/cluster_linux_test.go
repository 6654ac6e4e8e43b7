package fleet_test

import (
	"os"
	"testing"
)

// A cluster whose servers are processes of their own loses one after the other during a run, by SIGKILL. Once in seven times the
// run ended, since nobody took what it put on the queue (docs/hardening.md), so that this is for soaks until that is mended.
func TestKilledServers(t *testing.T) {
	if os.Getenv("IVO_SOAK") == "" {
		t.Skip("a run does not always outlive it: IVO_SOAK=1m has it tried")
	}
	s, nodes := &soak{t: t}, make([]*program, 3)
	losesInTurn(t, newCluster(t, func(i int, config string) { nodes[i] = s.start("node", "", "IVO_FLEET_DIR="+config) }, func(i int, _ string) {
		nodes[i].Process.Kill()
		until(t, "the server is gone", func() bool { over, _ := nodes[i].over(); return over })
	}))
}
