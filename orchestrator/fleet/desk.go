package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// desk has responses scored by workers, file by file.
type desk struct {
	scored jetstream.Consumer // of notices
	mu     sync.Mutex
	asked  map[string]*asked // by key
	said   map[string]bool   // what people were told
	ctx    context.Context
	end    context.CancelFunc
	ears   jetstream.ConsumeContext
}

// asked are responses that are to be scored.
type asked struct {
	*batch.Asking
	attempt, failed int // guarded by the desk's mutex
	reply           chan []batch.Score
	overdue
}

// marks are scores on their way.
type marks struct {
	Protocol int           `json:"protocol"`
	Key      string        `json:"key"`
	Scores   []batch.Score `json:"scores"`
}

// Elsewhere is what has responses scored by a reward; nil where no worker may ask it, which people are told.
func (c *Coordinator) Elsewhere(m reward.Model) batch.Elsewhere {
	spec, err := reward.Carry(m.Info().Name, c.carry)
	if err != nil {
		c.tell(fmt.Sprintf("scores come from this machine alone: %v", err))
		return nil
	}
	return func(ctx context.Context, a *batch.Asking) ([]batch.Score, error) {
		order := *a
		order.Reward = spec
		return c.score(ctx, &order)
	}
}

// carry offers a file of a reward to workers, and names it by its content.
func (c *Coordinator) carry(file string) (string, error) {
	path, err := hub.Source{Path: file}.Find(context.Background(), hub.Options{Offline: true}) // another program may keep it
	if err != nil {
		return "", err
	}
	extension := filepath.Ext(path)
	if extension != ".gguf" && extension != ".json" {
		extension = ""
	}
	if m, err := gguf.ReadModel(path); err == nil && len(m.Parts()) > 1 {
		return "", fmt.Errorf("%s is a model in several files, which are not sent (merge them into one)", path)
	}
	sum, err := c.offerFile(path)
	return sum + extension, err
}

// tell tells people something once.
func (c *Coordinator) tell(text string) {
	c.desk.mu.Lock()
	told := c.desk.said[text]
	if c.desk.said == nil {
		c.desk.said = map[string]bool{}
	}
	c.desk.said[text] = true
	c.desk.mu.Unlock()
	if !told {
		c.o.Say(text)
	}
}

// score has responses scored by a worker. It leaves them to this machine where no worker is there that can.
func (c *Coordinator) score(ctx context.Context, a *batch.Asking) ([]batch.Score, error) {
	c.asked.Store(true)
	o := &asked{Asking: a, reply: make(chan []batch.Score, 1)}
	if err := c.openDesk(ctx, o); err != nil {
		return nil, c.serverFailed(ctx, err)
	}
	defer func() {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		delete(c.desk.asked, a.Key)
	}()
	switch err := c.post(ctx, scoresQueue, a.Key, 0, a); {
	case errors.Is(err, errLong):
		c.tell(fmt.Sprintf("%s: %v: this machine scores them", a.Name, err))
		return nil, batch.ErrHere
	case err != nil:
		return nil, c.serverFailed(ctx, err)
	}
	begun := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case scores := <-o.reply:
			if scores == nil {
				c.withdraw(ctx, c.run.shard(scoresQueue, a.Key, "*"))
				return nil, batch.ErrHere
			}
			return scores, nil
		case <-ctx.Done(): // what is on the queue is taken off it when the run goes on
			return nil, context.Cause(ctx)
		case <-tick.C:
			if err := c.serverFault(); err != nil {
				return nil, c.serverFailed(ctx, err)
			}
			switch alive, able := c.alive(), c.able(); {
			case alive == 0 && time.Since(begun) > c.o.Heartbeat:
				c.tell("nobody is there to score: this machine does")
			case alive > 0 && able == 0:
				c.tell("no worker can ask the reward: this machine does")
			default:
				if err := c.remindScores(ctx, o); err != nil {
					return nil, c.serverFailed(ctx, err)
				}
				continue
			}
			c.withdraw(ctx, c.run.shard(scoresQueue, a.Key, "*"))
			return nil, batch.ErrHere
		}
	}
}

// openDesk takes in what is asked, and hears from now on what workers say.
func (c *Coordinator) openDesk(ctx context.Context, o *asked) (err error) {
	d := &c.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ears == nil {
		if err := c.persist(ctx, func() error { // what an earlier call has asked
			stream, err := c.js.Stream(ctx, c.run.shards())
			if err != nil {
				return err
			}
			return stream.Purge(ctx, jetstream.WithPurgeSubject(c.run.shard(scoresQueue, "*", "*")))
		}); err != nil {
			return err
		}
		d.asked = map[string]*asked{}
		d.ctx, d.end = context.WithCancel(context.Background())
		if d.ears, err = hears(d.scored, c.hear); err != nil {
			d.end()
			return err
		}
	}
	d.asked[o.Key] = o
	return nil
}

func (d *desk) close() {
	d.mu.Lock()
	ears := d.ears
	d.mu.Unlock()
	if ears != nil {
		d.end()
		ears.Stop()
		<-ears.Closed()
	}
}

// hear looks at what a worker says of responses to score.
func (c *Coordinator) hear(m jetstream.Msg) {
	var n notice
	ctx := c.desk.ctx
	if !said(m.Data(), &n) {
		m.Term()
		return
	}
	c.heard(&n.Card)
	c.desk.mu.Lock()
	o := c.desk.asked[n.Key]
	c.desk.mu.Unlock()
	var scores []batch.Score
	var err error
	var wrong damage
	switch {
	case o == nil || n.Back: // another has scored them, or nobody asks any more; or another will
	case n.Error != "":
		err = errors.New(n.Error)
	default:
		scores, err = c.scores(ctx, o, &n)
	}
	if ctx.Err() != nil {
		return
	}
	if errors.As(err, &wrong) {
		c.strike(n.Worker)
	} else if meta, e := m.Metadata(); err != nil && n.Error == "" && e == nil && meta.NumDelivered <= 5 {
		slog.Debug("fleet: fetch scores", "of", o.Name, "err", err)
		m.NakWithDelay(time.Second)
		return
	}
	if o != nil && err != nil {
		c.scoreless(ctx, o, &n, err)
	} else if o != nil && !n.Back {
		c.graded(o.Name, &n)
		o.answer(scores)
	}
	c.drop(ctx, n.Object)
	acknowledge(ctx, m)
}

// answer gives the scores, nil for none, to who waits for them, once.
func (o *asked) answer(scores []batch.Score) {
	select {
	case o.reply <- scores:
	default:
	}
}

// scoreless notes that responses were not scored. What a worker has given back is on the queue still.
func (c *Coordinator) scoreless(ctx context.Context, o *asked, n *notice, err error) {
	c.failure(&n.Card)
	c.desk.mu.Lock()
	o.failed++
	enough := n.Lost > 0 || o.failed >= c.o.Tries
	again := !enough && n.Error == ""
	if again {
		o.attempt++
	}
	attempt := o.attempt
	c.desk.mu.Unlock()
	what := "it is tried again"
	if enough {
		what = "this machine scores it"
		o.answer(nil)
	}
	c.o.Say(fmt.Sprintf("%s failed at worker %s: %v: %s", o.Name, n.Card.Called(), cmp.Or(err, errors.New("no reason")), what))
	if again {
		if err := c.post(ctx, scoresQueue, o.Key, attempt, o.Asking); err != nil {
			slog.Debug("fleet: ask again", "err", err)
			o.answer(nil)
		}
	}
}

// scores reads and checks those that a worker has stored.
func (c *Coordinator) scores(ctx context.Context, o *asked, n *notice) ([]batch.Score, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime(n.Bytes))
	defer cancel()
	in, err := c.results.Get(ctx, n.Object)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, damaged("its scores are not there")
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, mostScores))
	if err == nil {
		err = in.Error()
	}
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		return nil, damaged("the sum of its scores is not that of their content")
	}
	if err != nil {
		return nil, err
	}
	var of marks
	if err := expand(data, mostScores, &of); err != nil {
		return nil, damaged("its scores cannot be read: %w", err)
	}
	if of.Protocol != protocol || of.Key != o.Key || len(of.Scores) != len(o.Asked) {
		return nil, damaged("it has %d scores of %d responses", len(of.Scores), len(o.Asked))
	}
	for i, s := range of.Scores {
		if a := o.Asked[i]; s.Prompt != a.Prompt.ID || s.Sample != a.Sample || (s.Reward == nil) == (s.Error == "") {
			return nil, damaged("its score %d is not that of sample %d of prompt %s", i+1, a.Sample, a.Prompt.ID)
		}
	}
	return of.Scores, nil
}

// judge is a worker's, who scores responses.
type judge struct {
	*hand
	open []opened // by which it scored of late
}

// opened is a reward that a worker has open.
type opened struct {
	spec string // as it was sent
	reward.Model
}

// mostOpen is the number of rewards that a worker keeps open.
const mostOpen = 4

// errUnable says that the reward is none for this worker.
var errUnable = errors.New("this worker cannot ask the reward")

func (j *judge) read(data []byte) (*errand, error) {
	a := &batch.Asking{}
	if err := expand(data, mostOrder, a); err != nil {
		return nil, err
	}
	return &errand{a.Key, a.Name, func(ctx context.Context) (*result, error) { return j.score(ctx, a) }}, nil
}

// score scores the responses of an order.
func (j *judge) score(ctx context.Context, a *batch.Asking) (*result, error) {
	begun := time.Now()
	m, err := j.reward(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnable, err)
	}
	scores, err := a.Score(ctx, m)
	if err != nil {
		return nil, err
	}
	data, err := compress(encode(marks{protocol, a.Key, scores}))
	if err != nil {
		return nil, err
	}
	r := &result{notice: notice{Key: a.Key, Bytes: int64(len(data)), Took: time.Since(begun)}}
	r.store = func(ctx context.Context, n *notice) (err error) {
		n.Object, err = j.put(ctx, a.Key, n.Bytes, func(name string) error {
			_, err := j.results.PutBytes(ctx, name, data)
			return err
		})
		return err
	}
	return r, nil
}

// reward opens that of an order, with files of this worker or such as it is sent. What starts programs or asks
// servers is not opened on another's word.
func (j *judge) reward(ctx context.Context, a *batch.Asking) (reward.Model, error) {
	if at := slices.IndexFunc(j.open, func(o opened) bool { return o.spec == a.Reward && o.Info().Fingerprint == a.Fingerprint }); at >= 0 {
		return j.open[at].Model, nil
	}
	if len(j.open) == mostOpen {
		j.open[0].Close()
		j.open = slices.Delete(j.open, 0, 1)
	}
	needs := uint64(0)
	spec, err := reward.Carry(a.Reward, func(name string) (string, error) {
		extension := filepath.Ext(name)
		path, err := j.fetch(ctx, j.run, j.files, name[:len(name)-len(extension)], extension)
		if err == nil {
			var info os.FileInfo
			if info, err = os.Stat(path); err == nil {
				needs += uint64(info.Size())
			}
		}
		return path, err
	})
	if err != nil {
		return nil, err
	}
	if j.card.Memory > 0 && needs > j.card.Memory {
		return nil, fmt.Errorf("it needs about %s of memory, and %s are free", size(needs), size(j.card.Memory))
	}
	m, err := reward.Open(spec, reward.Options{})
	if err != nil {
		return nil, err
	}
	if m.Info().Fingerprint != a.Fingerprint {
		return nil, errors.Join(errors.New("it is another reward here (use the same ivo on all machines)"), m.Close())
	}
	j.open = append(j.open, opened{a.Reward, m})
	return m, nil
}

// close closes the rewards.
func (j *judge) close() {
	for _, o := range j.open {
		o.Close()
	}
}
