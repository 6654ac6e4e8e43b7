package llama

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// crowd is a machine on which other programs keep some cores busy, and a model that takes
// so long for a token by one thread. A thread more than there are free cores loses its core at
// every turn of the scheduler, while the others wait.
type crowd struct {
	cores int
	token time.Duration
	busy  func(at time.Duration) int
}

// step is a step's time and involuntary switches; noise are those of the system itself.
func (m *crowd) step(threads, tokens int, at, noise time.Duration) (took time.Duration, switches int64) {
	took = m.token*time.Duration(tokens)/time.Duration(threads) + noise
	if noise > 0 {
		switches = 1
	}
	if over := threads - (m.cores - m.busy(at)); over > 0 {
		switches += int64(20 * over)
		took += 60 * time.Millisecond * time.Duration(over)
	}
	return took, switches
}

// Whatever the neighbours do, a run takes little longer than with the best number of threads at
// each time, and all threads are used where all cores are free.
func TestPace(t *testing.T) {
	const long = 200 * time.Second
	from := func(at time.Duration, n int) func(time.Duration) int {
		return func(now time.Duration) int {
			if now < at {
				return 0
			}
			return n
		}
	}
	for name, tc := range map[string]struct {
		threads int
		machine crowd
		most    float64 // times as long as the best
		last    int     // threads at the end
	}{
		"a free machine":        {2, crowd{cores: 2, busy: from(long, 0)}, 1.02, 2},
		"one core taken":        {2, crowd{cores: 2, busy: from(0, 1)}, 1.1, 1},
		"one core taken later":  {2, crowd{cores: 2, busy: from(long/2, 1)}, 1.1, 1},
		"all cores taken":       {2, crowd{cores: 2, busy: from(0, 2)}, 1.1, 1},
		"a neighbour that ends": {4, crowd{cores: 4, busy: func(at time.Duration) int { return max(0, 2-int(at/(60*time.Second))) }}, 1.4, 4},
		"one of eight taken":    {8, crowd{cores: 8, busy: from(0, 1)}, 1.1, 7},
		"more than there are":   {4, crowd{cores: 2, busy: from(long, 0)}, 1.1, 2},
	} {
		for _, token := range []time.Duration{200 * time.Microsecond, 10 * time.Millisecond} {
			m := tc.machine
			m.token = token
			rng := rand.New(rand.NewPCG(1, 1))
			told := 0
			p := &pace{most: tc.threads, now: tc.threads, told: func(now, most int) {
				told++
				if now >= most {
					t.Errorf("%s: told of %d threads of %d", name, now, most)
				}
			}}
			var at, best time.Duration
			start := time.Unix(1, 0)
			for i := 0; at < long; i++ {
				tokens := 1 + i/50%3 // sequences join and leave
				noise := time.Duration(0)
				if rng.IntN(200) == 0 {
					noise = time.Millisecond
				}
				took, switches := m.step(p.now, tokens, at, noise)
				ideal := took
				for n := 1; n <= tc.threads; n++ {
					other, _ := m.step(n, tokens, at, noise)
					ideal = min(ideal, other)
				}
				best += ideal
				at += took
				if now := p.step(tokens, took, switches, start.Add(at)); now < 1 || now > tc.threads {
					t.Fatalf("%s: %d threads", name, now)
				}
			}
			last := p.now
			if p.trial != nil {
				last = p.trial.from
			}
			if ratio := at.Seconds() / best.Seconds(); ratio > tc.most || last != tc.last {
				t.Errorf("%s, %v a token: %.2f times as long as the best, %d threads at the end", name, token, ratio, last)
			}
			if (told > 0) != (name != "a free machine") {
				t.Errorf("%s: told %d times", name, told)
			}
		}
	}
	p := &pace{most: 1, now: 1}
	if n := p.step(1, time.Second, 1000, time.Unix(1, 0)); n != 1 {
		t.Errorf("one thread became %d", n)
	}
}

// The logits are the same to the last bit whatever number of threads each step takes.
func TestThreadsDoNotMatter(t *testing.T) {
	m, err := Load(filepath.Join("..", "testdata", "lab", "summarize-s.gguf"), ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var contexts []*Context
	for _, threads := range []int{1, 3} {
		c, err := m.NewContext(ContextParams{Ctx: 768, Threads: threads})
		if err != nil {
			t.Skip(err) // on a machine of one core
		}
		defer c.Close()
		contexts = append(contexts, c)
	}
	for step, pos := 0, int32(0); step < 12; step++ {
		contexts[1].setThreads(1 + step%3)
		var rows [2][]float32
		for i, c := range contexts {
			for j := range int32(1 + 5*step%23) {
				if _, err := c.Add(3+(pos+j)%500, pos+j, 0, true, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Decode(); err != nil {
				t.Fatal(err)
			}
			r, err := c.Row(c.Rows() - 1)
			if err != nil {
				t.Fatal(err)
			}
			rows[i] = r.Logits
		}
		if !slices.Equal(rows[0], rows[1]) {
			t.Fatalf("step %d: the logits differ", step)
		}
		pos += int32(contexts[0].Rows())
	}
}
