package cli

import (
	"context"
	"os"
	"sync"
	"syscall"
)

// interrupts lets a part of a verb's work, such as an answer of a chat, end by Ctrl-C while
// the verb goes on.
type interrupts struct {
	mu   sync.Mutex
	stop context.CancelCauseFunc // of the part that is under way
}

type interruptsKey struct{}

// stoppable begins a part that ends with the first Ctrl-C; a second one ends the program. done
// ends it.
func stoppable(ctx context.Context) (part context.Context, done func()) {
	part, cancel := context.WithCancelCause(ctx)
	i, ok := ctx.Value(interruptsKey{}).(*interrupts)
	if !ok {
		return part, func() { cancel(nil) }
	}
	i.mu.Lock()
	i.stop = cancel
	i.mu.Unlock()
	return part, func() {
		i.mu.Lock()
		i.stop = nil
		i.mu.Unlock()
		cancel(nil)
	}
}

// take ends the part that is under way, if a signal is Ctrl-C and there is one.
func (i *interrupts) take(s os.Signal) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s != os.Interrupt || i.stop == nil {
		return false
	}
	i.stop(interrupted{s.(syscall.Signal)})
	i.stop = nil
	return true
}
