// Package signals ends work by Ctrl-C: all of it, or the part that is under way.
package signals

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Interrupted is why a context ended when a signal ended it.
type Interrupted struct{ Signal syscall.Signal }

func (i Interrupted) Error() string { return "stopped by signal: " + i.Signal.String() }

// Ended is called when a signal has ended a context. Tests wait for it.
var Ended = func() {}

// parts is what Ctrl-C ends first.
type parts struct {
	mu   sync.Mutex
	stop context.CancelCauseFunc // of the part that is under way
}

type partsKey struct{}

// Context ends with the first Ctrl-C or SIGTERM, unless that ends a part of the work; a second
// signal ends the program at once. done stops listening.
func Context() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ignore()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	p := &parts{}
	go func() {
		for {
			select {
			case s := <-heard:
				if p.take(s) {
					continue
				}
				signal.Stop(heard)
				cancel(Interrupted{s.(syscall.Signal)})
				Ended()
			case <-ctx.Done():
			}
			return
		}
	}()
	return context.WithValue(ctx, partsKey{}, p), func() {
		signal.Stop(heard)
		cancel(nil)
	}
}

// Part begins a part of the work, such as an answer of a chat, that ends with the first Ctrl-C
// while the work goes on; a second one ends the program. done ends the part. Under a context that is
// not from Context it ends with done alone.
func Part(ctx context.Context) (part context.Context, done func()) {
	part, cancel := context.WithCancelCause(ctx)
	p, ok := ctx.Value(partsKey{}).(*parts)
	if !ok {
		return part, func() { cancel(nil) }
	}
	p.mu.Lock()
	p.stop = cancel
	p.mu.Unlock()
	return part, func() {
		p.mu.Lock()
		p.stop = nil
		p.mu.Unlock()
		cancel(nil)
	}
}

// take ends the part that is under way, if a signal is Ctrl-C and there is one.
func (p *parts) take(s os.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s != os.Interrupt || p.stop == nil {
		return false
	}
	p.stop(Interrupted{s.(syscall.Signal)})
	p.stop = nil
	return true
}
