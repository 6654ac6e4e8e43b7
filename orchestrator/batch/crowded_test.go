package batch

import "testing"

func TestCrowded(t *testing.T) {
	for _, tc := range []struct {
		loadavg        string
		threads, cores int
		warns          bool
	}{
		{"0.12 1.90 2.00 1/200 77\n", 2, 2, false},
		{"0.98 0.10 0.02 2/200 77\n", 2, 2, true},
		{"9.00 0.10 0.02 2/200 77\n", 1, 2, false}, // one thread waits for none
		{"3.40 0.10 0.02 2/200 77\n", 4, 8, false},
		{"4.60 0.10 0.02 2/200 77\n", 4, 8, true},
		{"", 2, 2, false},
	} {
		if got := crowded(tc.loadavg, tc.threads, tc.cores); (got != "") != tc.warns {
			t.Errorf("%q, %d threads on %d cores: %q", tc.loadavg, tc.threads, tc.cores, got)
		}
	}
}
