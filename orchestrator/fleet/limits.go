package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// What one side may ask of the other, whoever that is. Limits of objects and of what a server holds are in bytes.
const (
	mostPayload = 1 << 20   // of a message
	mostLine    = 64 << 10  // of a parcel's first line
	mostAnswers = 1 << 30   // of its answers, when they are not compressed
	mostShard   = 4 << 30   // of a shard's result
	mostOrder   = 256 << 20 // of an order, when it is not compressed, and
	mostScores  = 256 << 20 // of scores
	mostFile    = 1 << 50   // of a file that is sent, wherever there is room for it

	mostWorkers = 4096    // that a run knows at a time
	mostWord    = 512     // bytes of what a worker says of itself, each
	mostError   = 4 << 10 // of an error
	mostDoing   = 64      // shards in its hands
	mostCores   = 1 << 16 // of its machine, and contexts
	mostTokens  = 1 << 40 // that it has decoded

	mostStore  = 64 << 30 // that a run's own server keeps, where it is not known what is free
	leastStore = 1 << 30  // and where little is: that a disk is full is found out when it is
)

// free is the number of bytes that may still be written where a directory lies, if that is known.
var free = run.Free

// shares are those of what a server keeps of a run, of so many bytes.
type shares struct{ files, results, orders, notices int64 }

func sharesOf(store int64) shares {
	return shares{files: store / 2, results: store / 4, orders: store / 16, notices: store / 64}
}

// ownStore is what a server of the run's own may keep: three quarters of what is free on its disk.
func ownStore(dir string) int64 {
	room, known := free(dir)
	if !known {
		return mostStore
	}
	return max(leastStore, min(room, math.MaxInt64/4)/4*3)
}

// result is the most of a result: while one is fetched another comes.
func (s shares) result() int64 { return min(mostShard, s.results/2) }

// tooLarge is the error of a shard whose result is not taken.
func tooLarge(bytes, most int64) error {
	return fault.New("work", "shard", nil, "lower {shard}, or raise {store} of the run or free disk for it", "its result takes %s, and %s is the most", size(uint64(bytes)), size(uint64(most)))
}

// errLong is why an order is not posted that no worker would take.
var errLong = errors.New("too much for one order")

func longOrder(bytes int) error {
	return fault.New("fleet", "shard", nil, "lower {shard}", "%w: it takes %s, and %s is the most", errLong, size(uint64(bytes)), size(mostOrder))
}

// room is an error where a file that is to be sent does not fit on the disk, of which so many bytes are there.
func room(path string, bytes, here int64) error {
	left, known := free(filepath.Dir(path))
	if !known || bytes-here <= left {
		return nil
	}
	return &fs.PathError{Op: "write", Path: path, Err: fmt.Errorf("it takes %s more, and %s are free: %w", size(uint64(bytes-here)), size(uint64(left)), syscall.ENOSPC)}
}

// said reads what a worker says, and says whether it can be read and says who it is: who does not would be taken for the run's own
// machine. Words have a length then that one may keep, and a number that cannot be is 0, as one that is not known: the rest may be
// true.
func said(data []byte, v interface{ bound() (named bool) }) bool {
	return json.Unmarshal(data, v) == nil && v.bound()
}

func (c *Card) bound() (named bool) {
	for _, word := range []*string{&c.Worker, &c.Host, &c.Version, &c.Build, &c.CPU, &c.Offload, &c.Model, &c.Named} {
		clip(word, mostWord)
	}
	within(&c.Cores, mostCores)
	within(&c.Contexts, mostCores)
	return c.Worker != ""
}

func (p *pulse) bound() (named bool) {
	clip(&p.Unable, mostError)
	p.Doing = p.Doing[:min(len(p.Doing), mostDoing)]
	for i := range p.Doing {
		clip(&p.Doing[i], mostWord)
	}
	within(&p.Tokens, mostTokens)
	return p.Card.bound()
}

func (n *notice) bound() (named bool) {
	clip(&n.Worker, mostWord)
	clip(&n.Error, mostError)
	within(&n.Bytes, mostShard+mostLine)
	within(&n.Tokens, mostTokens)
	within(&n.Took, kept) // by then its order is gone
	n.Lost = max(0, n.Lost)
	return n.Card.bound()
}

func clip(word *string, most int) { *word = (*word)[:min(len(*word), most)] }

func within[N int | int64 | time.Duration](n *N, most N) {
	if *n < 0 || *n > most {
		*n = 0
	}
}
