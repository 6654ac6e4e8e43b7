package fleet

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lone is a queue of one order, which is given out again when its time has come, 20 times at most.
type lone struct {
	jetstream.Consumer
	mu        sync.Mutex
	out       bool
	at        time.Time
	given     int
	delivered uint64 // since it was done
}

// Fetch waits for the order as a server does.
func (q *lone) Fetch(int, ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	batch := make(lot, 1)
	defer close(batch)
	for range 20 {
		q.mu.Lock()
		if q.given == 20 {
			q.mu.Unlock()
			return nil, errors.New("it is given out no more")
		}
		if !q.out && !time.Now().Before(q.at) {
			q.out = true
			q.given++
			q.delivered++
			batch <- parcelled{q: q, delivered: q.delivered}
			q.mu.Unlock()
			return batch, nil
		}
		q.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
	return batch, nil
}

// deaf is a server that takes all notices, and does nothing.
type deaf struct{ jetstream.JetStream }

func (deaf) Publish(context.Context, string, []byte, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, nil
}

// lot is what a fetch gives.
type lot chan jetstream.Msg

func (l lot) Messages() <-chan jetstream.Msg { return l }
func (l lot) Error() error                   { return nil }

// parcelled is the order as it is given out.
type parcelled struct {
	jetstream.Msg
	q         *lone
	delivered uint64
}

func (m parcelled) Data() []byte         { return nil }
func (m parcelled) Headers() nats.Header { return nil }
func (m parcelled) InProgress() error    { return nil }
func (m parcelled) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{NumDelivered: m.delivered}, nil
}

func (m parcelled) NakWithDelay(d time.Duration) error {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	m.q.out, m.q.at = false, time.Now().Add(d)
	return nil
}

func (m parcelled) DoubleAck(context.Context) error {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	m.q.out, m.q.delivered = false, 0
	return nil
}

// A worker ends after five failures in a row, whether orders fail as they are done or as they are handed in, before it takes one
// more: of an order that none can do but others have not tried, that would be the last time that it is given out. One whose run
// is gone looks for it again.
func TestFailuresInARow(t *testing.T) {
	unlucky := errors.New("no luck")
	for name, tc := range map[string]struct {
		done, stored []error // by turns
		given        int
		err          string
	}{
		"handed in":   {[]error{nil}, []error{errHere}, mostFailures, "5 shards in a row"},
		"done":        {[]error{unlucky}, []error{nil}, mostFailures, "5 shards in a row have failed here, the last with: no luck"},
		"by turns":    {[]error{unlucky, nil}, []error{nil, errHere}, mostFailures, "5 shards in a row"},
		"luck within": {[]error{nil}, []error{errHere, errHere, errHere, nil, errHere, errHere, errHere, errHere, errHere}, 4 + mostFailures, "5 shards in a row"},
		"gone":        {[]error{errors.Join(errHere, errGone)}, []error{nil}, 1, errGone.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &lone{}
				w := &worker{o: WorkerOptions{Say: func(string) {}}, doing: map[string]int{}, nc: &nats.Conn{}, js: deaf{}}
				h := &hand{worker: w, count: &atomic.Int64{}, consumer: q, heartbeat: time.Minute}
				err := h.work(t.Context(), func([]byte) (*errand, error) {
					done, stored := tc.done[(q.given-1)%len(tc.done)], tc.stored[(q.given-1)%len(tc.stored)]
					return &errand{"key", "a shard", func(context.Context) (*result, error) {
						return &result{store: func(context.Context, *notice) error { return stored }}, done
					}}, nil
				})
				if err == nil || !strings.Contains(err.Error(), tc.err) || q.given != tc.given || len(w.doing) > 0 {
					t.Errorf("given out %d times, %v in hand: %v", q.given, w.doing, err)
				}
			})
		})
	}
}
