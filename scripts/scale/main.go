// Command scale simulates a fleet: how long a round of shards takes with ever more workers, and what is busy then. It knows
// a shard's time on a worker and its bytes, what workers are sent before they begin, and what the coordinator's machine does a
// second; docs/scale.md has its tables.
package main

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
)

// site is what is simulated.
type site struct {
	shards  int
	decode  float64 // seconds a shard, on a worker
	spread  float64 // of it, as a share, uniform to either side
	bytes   float64 // of a result
	send    float64 // bytes that every worker is sent before it draws: the model, where it has none of its own, and
	heads   float64 // the heads of the round
	network float64 // bytes a second that the coordinator's machine takes in, and as many that it sends
	disk    float64 // bytes a second that it stores
	settle  float64 // seconds of the coordinator for a result, besides
	check   float64 // bytes of results a second that it checks
	direct  bool    // results and what is sent lie in an object storage of their own
}

// load is what comes of it: the seconds that all shards take, and those in which something is busy.
type load struct {
	total       float64
	in, out     float64 // the coordinator's network
	store, run  float64 // its disk: the object store's files, and the run's
	coordinator float64
}

// handing is when workers hand in what they have drawn.
type handing []float64

func (h handing) Len() int           { return len(h) }
func (h handing) Less(i, j int) bool { return h[i] < h[j] }
func (h handing) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *handing) Push(x any)        { *h = append(*h, x.(float64)) }
func (h *handing) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// start is when so many workers have what they are sent. They ask for part after part, so that the coordinator's network goes
// round among them and all have it at nearly the same time; from an object storage each has it by its own network, which is as fast.
func (s site) start(workers int) float64 {
	if s.direct {
		workers = 1
	}
	return float64(workers) * (s.send + s.heads) / s.network
}

// simulate has workers draw all shards. Network, disk and coordinator are queues of one server each. A worker draws the next shard
// while it hands in the last, and hands in one at a time: with a second it waits until the first is in the object store.
func (s site) simulate(workers int) load {
	n := float64(s.shards)
	in, kept, settled := s.bytes/s.network, s.bytes/s.disk, s.settle+s.bytes/s.check // seconds of a result
	l := load{in: n * in, run: n * kept, coordinator: n * settled}
	start := s.start(workers)
	if !s.direct {
		l.out = start
		l.store = n*kept + (s.send+s.heads)/s.disk // of what is sent there is one copy
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var at handing
	left := s.shards
	draw := func(now, free float64) { // from now on; the shard may be handed in when the worker is free to
		if left > 0 {
			left--
			heap.Push(&at, max(free, now+s.decode*(1+s.spread*(2*rng.Float64()-1))))
		}
	}
	for range workers {
		draw(start, 0)
	}
	var network, disk, coordinator float64 // when each is free
	for at.Len() > 0 {
		now := heap.Pop(&at).(float64)
		network = max(network, now) + in
		disk = max(disk, network)
		free := now // an object storage of its own takes all that comes
		if !s.direct {
			disk += kept
			free = disk
		}
		draw(now, free)
		disk += kept
		coordinator = max(coordinator, disk) + settled
		l.total = max(l.total, coordinator)
	}
	return l
}

func main() {
	s := site{}
	flag.IntVar(&s.shards, "shards", 10000, "shards of a round")
	flag.Float64Var(&s.decode, "decode", 60, "seconds a shard")
	flag.Float64Var(&s.spread, "spread", 0.3, "spread of the seconds, as a share")
	flag.Float64Var(&s.bytes, "bytes", 32e6, "bytes of a result")
	flag.Float64Var(&s.send, "send", 0, "bytes of the model that every worker is sent")
	flag.Float64Var(&s.heads, "heads", 2e6, "bytes of the heads that every worker is sent a round")
	flag.Float64Var(&s.network, "network", 110e6, "bytes a second into the coordinator, and out of it")
	flag.Float64Var(&s.disk, "disk", 140e6, "bytes a second onto its disk")
	flag.Float64Var(&s.settle, "settle", 0.006, "seconds of the coordinator a result")
	flag.Float64Var(&s.check, "check", 320e6, "bytes of results a second that it checks")
	flag.BoolVar(&s.direct, "direct", false, "with an object storage of its own, which takes and sends all that is asked of it")
	flag.Parse()
	fmt.Fprintln(os.Stdout, "| workers | hours | efficiency | network in | out | object store | run | coordinator |\n|---|---|---|---|---|---|---|---|")
	for _, n := range []int{1, 10, 100, 1000} {
		l := s.simulate(n)
		fmt.Fprintf(os.Stdout, "| %d | %.2f | %.0f %% |", n, l.total/3600, 100*float64(s.shards)*s.decode/float64(n)/l.total)
		for _, busy := range []float64{l.in, l.out, l.store, l.run, l.coordinator} {
			fmt.Fprintf(os.Stdout, " %.0f %% |", 100*busy/l.total)
		}
		fmt.Fprintln(os.Stdout)
	}
}
