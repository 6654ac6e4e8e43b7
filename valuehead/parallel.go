package valuehead

import (
	"sync"
	"sync/atomic"
)

// parallel runs work(0..n-1) on up to workers goroutines and waits for all of them.
func parallel(workers, n int, work func(i int)) {
	var next atomic.Int64
	take := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			work(i)
		}
	}
	var wg sync.WaitGroup
	for range min(workers, n) - 1 {
		wg.Go(take)
	}
	take()
	wg.Wait()
}
