// Command scale simulates a fleet: how long a round of shards takes with ever more workers, and what is busy then. It knows
// a shard's time on a worker and its bytes, and what the coordinator's machine does a second; docs/scale.md has its tables.
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
	network float64 // bytes a second that the coordinator's machine takes in
	disk    float64 // bytes a second that it stores: each result twice, in the object store and in the run
	settle  float64 // seconds of the coordinator for a result, besides
}

// done is a worker that has drawn its shard at a time.
type done []float64

func (d done) Len() int           { return len(d) }
func (d done) Less(i, j int) bool { return d[i] < d[j] }
func (d done) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *done) Push(x any)        { *d = append(*d, x.(float64)) }
func (d *done) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// run is the time that all shards take with so many workers, and the shares of it in which network, disk and coordinator are
// busy. Each is a queue of one server; a worker goes on when its result is in the object store.
func (s site) run(workers int) (total, network, disk, settle float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	var at done
	left := s.shards
	begin := func(now float64) {
		if left > 0 {
			left--
			heap.Push(&at, now+s.decode*(1+s.spread*(2*rng.Float64()-1)))
		}
	}
	for range workers {
		begin(0)
	}
	var netFree, diskFree, settleFree, last float64
	for at.Len() > 0 {
		drawn := heap.Pop(&at).(float64)
		netFree = max(netFree, drawn) + s.bytes/s.network
		diskFree = max(diskFree, netFree) + 2*s.bytes/s.disk // into the object store, and into the run
		begin(diskFree - s.bytes/s.disk)
		settleFree = max(settleFree, diskFree) + s.settle
		last = max(last, settleFree)
	}
	n := float64(s.shards)
	return last, n * s.bytes / s.network / last, 2 * n * s.bytes / s.disk / last, n * s.settle / last
}

func main() {
	s := site{}
	flag.IntVar(&s.shards, "shards", 10000, "shards of a round")
	flag.Float64Var(&s.decode, "decode", 60, "seconds a shard")
	flag.Float64Var(&s.spread, "spread", 0.3, "spread of the seconds, as a share")
	flag.Float64Var(&s.bytes, "bytes", 20e6, "bytes of a result")
	flag.Float64Var(&s.network, "network", 110e6, "bytes a second into the coordinator")
	flag.Float64Var(&s.disk, "disk", 140e6, "bytes a second onto its disk")
	flag.Float64Var(&s.settle, "settle", 0.02, "seconds of the coordinator a result")
	flag.Parse()
	fmt.Fprintln(os.Stdout, "| workers | hours | efficiency | network | disk | coordinator |\n|---|---|---|---|---|---|")
	for _, n := range []int{1, 10, 100, 1000} {
		total, network, disk, settle := s.run(n)
		fmt.Printf("| %d | %.2f | %.0f %% | %.0f %% | %.0f %% | %.0f %% |\n", n, total/3600, 100*float64(s.shards)*s.decode/float64(n)/total, 100*network, 100*disk, 100*settle)
	}
}
