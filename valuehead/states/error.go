package states

import (
	"errors"
	"fmt"
)

// ErrUnfinished is the fault of a shard without an end: it is still being written, or its
// writer was stopped.
var ErrUnfinished = errors.New("the shard is not finished")

// Error is a fault of a shard: what is wrong, where, and in Hint what to do about it.
type Error struct {
	Path string `json:"-"`
	// Block is the block's number from 0, or -1 outside the blocks.
	Block int `json:"block"`
	// From and To are the faulty bytes of the file.
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Msg  string `json:"message"`
	Hint string `json:"hint"`
	// The trajectories of the shard from First on that are not readable; First is -1 when
	// it is not known which they are. Lost names those whose names are known.
	First int    `json:"first"`
	Count int    `json:"count"`
	Lost  []Meta `json:"lost,omitempty"`
	err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s%s (%s)", e.Path, e.Where(), e.Msg, e.Hint)
}

// Where is the block and the bytes, such as "block 3, bytes 100 to 200: ", or empty.
func (e *Error) Where() string {
	where := ""
	if e.Block >= 0 {
		where = fmt.Sprintf("block %d, ", e.Block)
	}
	if e.To > 0 {
		where += fmt.Sprintf("bytes %d to %d: ", e.From, e.To)
	}
	return where
}

// Unwrap is [ErrUnfinished] or nil.
func (e *Error) Unwrap() error { return e.err }

const (
	hintDamaged    = "keep what is sound with ivo states repair, or collect this shard anew"
	hintUnfinished = "let its writer finish it, or keep what is there with ivo states repair"
	hintPath       = "check the path: shards lie in the states folder of a run"
)
