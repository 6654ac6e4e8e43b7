// Package fleet decodes the shards of a run on several machines. A coordinator, which is whoever has the
// run, puts shards on a work queue of NATS JetStream; workers take them, say while they decode that they
// are at it, put what they have drawn into an object store, and tell. The coordinator checks a result and
// hands it to the run, which writes it as if it had been drawn there: a run that a fleet has drawn and
// one that was drawn alone are the same files, and either goes on where the other stopped.
//
// A shard is known by the key of its result in the run. Done twice it is the same result, of which the
// second is dropped; so a worker may vanish at any time, and what it had is given to another when it has
// said nothing for a while. A shard that fails wherever it is tried is set aside with its error, and the
// others go on.
//
// What was drawn is scored in the same way, where the reward is a rule or a model: its files travel as the
// policy's do. A reward that is a program or a server is asked by the coordinator alone, whoever says what.
//
// The server is embedded in the coordinator, with its files in the run, or it is one that is there
// already. The package knows nothing of training.
package fleet

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// protocol is the version of what coordinator and workers say to each other.
const protocol = 2

const (
	heartbeat = 30 * time.Second // a worker that has said nothing for so long is taken for lost
	tries     = 3                // failures after which a shard is set aside
	given     = 6                // times that it is given out to workers who do not come back
	window    = 64               // shards on the queue at once, at least
	chunkSize = 256 << 10        // of an object's

	kept = 30 * 24 * time.Hour // so long a server that outlives the run has what belongs to it
)

// Where workers ask to be taken, and people how a fleet is.
const (
	joinSubject   = "ivo.join"
	statusSubject = "ivo.status"
)

// names are those of a run's streams, buckets and subjects.
type names string

func (n names) shards() string  { return "ivo-" + string(n) + "-shards" }
func (n names) notices() string { return "ivo-" + string(n) + "-notices" }
func (n names) results() string { return "ivo-" + string(n) + "-results" }
func (n names) files() string   { return "ivo-" + string(n) + "-files" }

// subject of a worker's or coordinator's message in the run.
func (n names) subject(parts ...string) string {
	return strings.Join(append([]string{"ivo", string(n)}, parts...), ".")
}

// shard is the subject of an order, given out for the try-th time.
func (n names) shard(queue, key, try string) string { return n.subject("shard", queue, key, try) }

// keyOf is the key of the order of such a subject.
func keyOf(subject string) string { return strings.Split(subject, ".")[4] }

// Kinds of notices: of shards that were drawn, and of responses that were scored.
const (
	drawnNotice  = "notice"
	scoredNotice = "scored"
)

// scoresQueue is the name of the queue of responses to score.
const scoresQueue = "scores"

// queue is the name of the queue of the shards of a model, which is that of its consumer too.
func queue(model string) string { return run.Key("model", model)[:12] }

// Card says what a worker is.
type Card struct {
	Protocol int    `json:"protocol"`
	Worker   string `json:"worker"` // one start of a program
	Host     string `json:"host"`
	Version  string `json:"version"` // of ivo
	Build    string `json:"build"`   // of llama.cpp, and how it was compiled
	CPU      string `json:"cpu"`     // its kind
	Offload  string `json:"offload"` // what besides the CPU computes the model
	Cores    int    `json:"cores"`
	Contexts int    `json:"contexts"` // each of which draws a shard; 0 as long as it has no model
	Memory   uint64 `json:"memory"`   // bytes that are free; 0 where the system does not say
	// Model is what it decodes with, empty where it is to be sent the run's.
	Model string `json:"model,omitempty"`
	Named string `json:"named,omitempty"` // its file's name, for people
}

// Kind is what has to be equal for results to be equal to the bit.
func (c *Card) Kind() string { return kind(c.Build, c.CPU, c.Offload) }

func kind(build, cpu, offload string) string {
	text := build + " on " + cpu
	if offload != "" {
		text += ", " + offload
	}
	return text
}

// Called is how people know the worker, or the run's own machine.
func (c *Card) Called() string {
	if c.Worker == "" {
		return c.Host + " (the run's own)"
	}
	return c.Host + "-" + c.Worker[:min(4, len(c.Worker))]
}

// welcome answers a card.
type welcome struct {
	Run       string        `json:"run"`
	Refused   string        `json:"refused,omitempty"` // why, if it is
	Model     manifest      `json:"model"`
	Heartbeat time.Duration `json:"heartbeat"`
	Most      int64         `json:"most,omitempty"` // bytes of a result
}

// manifest is a file that workers may be sent.
type manifest struct {
	Key   string   `json:"key"`             // of a model its identity, of another file the SHA-256 of all of it
	Bare  string   `json:"bare,omitempty"`  // of a model: its identity without adapters
	Files int      `json:"files,omitempty"` // of a model: in so many it is; only one is sent
	Name  string   `json:"name"`            // for people
	Bytes int64    `json:"bytes"`
	Part  int64    `json:"part"`            // bytes of each part but the last
	Parts []string `json:"parts,omitempty"` // their SHA-256; none of a file that is not sent
	Needs uint64   `json:"needs,omitempty"` // bytes of memory
}

// pulse is what a worker says of itself every now and then.
type pulse struct {
	Card
	Doing  []string `json:"doing,omitempty"` // names of the shards in its hands
	Tokens int64    `json:"tokens"`          // decoded so far
	Left   bool     `json:"left,omitempty"`
	Unable string   `json:"unable,omitempty"` // why it does not score
}

// notice is what a worker says of a shard.
type notice struct {
	Key    string        `json:"key"`
	Worker string        `json:"worker"`
	Card   Card          `json:"card"`
	Object string        `json:"object,omitempty"` // that holds the result
	Bytes  int64         `json:"bytes,omitempty"`
	Tokens int64         `json:"tokens,omitempty"` // decoded
	Took   time.Duration `json:"took,omitempty"`
	Error  string        `json:"error,omitempty"`
	Back   bool          `json:"back,omitempty"` // it is given back as it was, for a reason that is not its own
	Lost   int           `json:"lost,omitempty"` // so often it was given out and not done: nobody comes back with it
}

// request asks for a part of a file.
type request struct {
	Key  string `json:"key"`
	Part int    `json:"part"`           // -1 for the manifest
	Anew bool   `json:"anew,omitempty"` // what is there of it is damaged, or is not there
}

// reply says whether it is there.
type reply struct {
	Manifest *manifest `json:"manifest,omitempty"`
	Error    string    `json:"error,omitempty"`
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a fault of the program
	}
	return data
}
