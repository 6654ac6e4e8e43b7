package main

import (
	"math"
	"testing"
)

// even is a site whose shards take equally long.
func even() site {
	return site{shards: 50, decode: 60, bytes: 32e6, network: 110e6, disk: 140e6, settle: 0.006, check: 320e6}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*want {
		t.Errorf("%s: %g s, want %g", what, got, want)
	}
}

// One worker takes the time of all shards, of what it is sent before, and of handing in the last: the others are handed in
// meanwhile.
func TestOneWorker(t *testing.T) {
	s := even()
	in, kept, settled := s.bytes/s.network, s.bytes/s.disk, s.settle+s.bytes/s.check
	near(t, "without a model", s.simulate(1).total, 50*60+in+2*kept+settled)
	s.send, s.heads = 4e9, 2e6
	near(t, "with one that is sent", s.simulate(1).total, 4.002e9/110e6+50*60+in+2*kept+settled)
	s.direct = true
	near(t, "with an object storage", s.simulate(1).total, 4.002e9/110e6+50*60+in+kept+settled)
}

// Handing in takes longer than drawing: a worker waits for each result but the last.
func TestSlowStore(t *testing.T) {
	s := even()
	s.decode, s.network, s.check, s.settle = 1, math.Inf(1), math.Inf(1), 0
	s.disk = s.bytes / 10 // 10 s a copy, two copies a result
	near(t, "one worker", s.simulate(1).total, 1+50*20)
}

// With a worker a shard, all come at once, and the disk, which is the slowest, takes them one after the other, twice each.
func TestAllAtOnce(t *testing.T) {
	s := even()
	in, kept, settled := s.bytes/s.network, s.bytes/s.disk, s.settle+s.bytes/s.check
	near(t, "all", s.simulate(50).total, 60+in+50*2*kept+settled)
	near(t, "more workers than shards", s.simulate(500).total, 60+in+50*2*kept+settled)
}

// More workers never take longer where nothing is sent, nor less than the share of each; and nothing is busy for longer than all
// takes.
func TestMonotone(t *testing.T) {
	s := even()
	s.shards = 1000
	last := math.Inf(1)
	for workers := 1; workers <= 1024; workers *= 2 {
		l := s.simulate(workers)
		if l.total > last || l.total < float64(s.shards)*s.decode/float64(workers) {
			t.Errorf("%d workers take %g s, half as many %g", workers, l.total, last)
		}
		if most := max(l.in, l.out, l.store+l.run, l.coordinator); most > l.total {
			t.Errorf("%d workers: something is busy for %g of %g s", workers, most, l.total)
		}
		last = l.total
	}
}
