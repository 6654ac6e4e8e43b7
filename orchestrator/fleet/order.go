package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// inObject says that an order is too long for a message, and in which object it lies.
const inObject = "Ivo-Object"

// sendTime is how long so many bytes may be on their way, on a link of 2 Mbit/s at least. What a server of a cluster was sending
// when it was lost never comes, and is asked for again then.
func sendTime(bytes int64) time.Duration {
	return 15*time.Second + time.Duration(bytes>>18)*time.Second
}

// election is how long a cluster may take to miss a server that is lost and to choose another leader: nobody has a stream until
// then, and what is put there is refused at once.
const election = 30 * time.Second

// persist does again what a cluster that elects a leader does not answer.
func (c *Coordinator) persist(ctx context.Context, do func() error) error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := do()
		silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
		if !silent || try >= 5 && time.Since(begun) > election || ctx.Err() != nil || c.serverFault() != nil {
			return err
		}
		slog.Debug("fleet: ask the server again", "err", err)
		pause(ctx, time.Second)
	}
}

// post puts an order on a queue.
func (c *Coordinator) post(ctx context.Context, queue, key string, attempt int, order any) error {
	return c.persist(ctx, func() error { return c.postOnce(ctx, queue, key, attempt, order) })
}

// heldAlready is what the server says of an order that it has: one may have come through though that was not heard. That
// is all that keeps orders from being doubled: one that was taken off the queue, or done, may be put there again at once, which a
// server that knows messages by an identifier would drop without a word.
const heldAlready = "maximum messages per subject exceeded"

func (c *Coordinator) postOnce(ctx context.Context, queue, key string, attempt int, order any) error {
	if err := c.consumer(ctx, queue); err != nil {
		return err
	}
	subject := c.run.shard(queue, key, fmt.Sprint(attempt))
	m := nats.NewMsg(subject)
	plain := encode(order)
	if len(plain) > mostOrder {
		return longOrder(len(plain))
	}
	var err error
	if m.Data, err = compress(plain); err != nil {
		return err
	}
	if int64(len(m.Data)) > c.nc.MaxPayload()-4096 {
		name := "order-" + key
		if _, err := c.files.PutBytes(ctx, name, m.Data); err != nil {
			return err
		}
		m.Header.Set(inObject, name)
		m.Data = nil
	}
	_, err = c.js.PublishMsg(ctx, m)
	if err != nil && strings.Contains(err.Error(), heldAlready) {
		return nil
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("put %s on the queue: %w", key, err)
	}
	return err
}

// withdraw takes what a subject has off its queue.
func (c *Coordinator) withdraw(ctx context.Context, subject string) {
	stream, err := c.js.Stream(ctx, c.run.shards())
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		slog.Debug("fleet: withdraw an order", "err", err)
	}
}

// drop removes a result that is not needed any more.
func (c *Coordinator) drop(ctx context.Context, object string) {
	if object == "" {
		return
	}
	c.rooms.came(object)
	if err := c.results.Delete(ctx, object); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		slog.Debug("fleet: remove a result", "err", err)
	}
}

// compress keeps the sum of what is compressed with it.
func compress(plain []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.EncodeAll(plain, nil), nil
}

// expand reads a value from what compress gave.
func expand(data []byte, most uint64, v any) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(most))
	if err != nil {
		return err
	}
	defer z.Close()
	if data, err = z.DecodeAll(data, nil); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
