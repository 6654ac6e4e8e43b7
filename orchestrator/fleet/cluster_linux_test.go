package fleet_test

import "testing"

// A cluster whose servers are processes of their own loses one after the other during a run, by SIGKILL.
func TestKilledServers(t *testing.T) {
	s, nodes := &soak{t: t}, make([]*program, 3)
	losesInTurn(t, newCluster(t, func(i int, config string) { nodes[i] = s.start("node", "", "IVO_FLEET_DIR="+config) }, func(i int, _ string) {
		nodes[i].Process.Kill()
		until(t, "the server is gone", func() bool { over, _ := nodes[i].over(); return over })
	}))
}
