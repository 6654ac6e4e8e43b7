package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// recallNet is the model of [Recall]. Rows are projected to a few columns, by one matrix
// for those of the response and one for those of the prompt; what follows is small,
// whatever the model's width. The prompt's projected rows p_j are read once:
//
//	e_j = [p_j f_j b_j]                         f, b: scans of p from either end
//
// For response token t, x_t is the projected row, joined by the embedding of the token if
// there is one and by s_t, a scan of these that remembers the last few tokens:
//
//	r_t, m_t = look(x_t, e)                     what attention finds in the prompt, and how
//	g_t = (A x_t) (B r_t)                       elementwise
//	u_t = tanh(W2 silu(W1 [x_t r_t m_t g_t] + b1) + b2)
//	c_t = d c_{t-1} + u_t                       0 < d < 1, a learned decay for each channel
//	out = W4 silu(W3 c_t + b3) + b4
//
// c_0 = W0 p + b0 reads the state p after the prompt's last token. With Advantages, u has
// no tanh, d is 1 and out = W4 c_t + b4: a sum over the tokens.
type recallNet struct {
	shape     Shape
	width     int // of a row
	joined    int // of a projected row with the embedding
	in        int // and with s
	promptRow int // width of a prompt's row
	found     int // of e_j
	z         int // inputs of W1
	atRead    int // columns of its parts
	atM, atG  int
	list      []tensor
	like      []int // see Features.like
	// indices into list
	project, embedding, hidden, decay, start, top int
	said                                          scan // of the response; its tensors are last
	forth, back                                   scan // of the prompt; the same
	scans                                         int
}

// indices of the tensors of attention, if there is one
const (
	tKey = iota
	tValue
	tQuery
	tBias
	tNull
	tSaid
	tFound
	tPrompt
)

func newRecallNet(shape Shape, width, promptRow int, like []int) (*recallNet, error) {
	switch {
	case shape.Channels < 1 || shape.Project < 1:
		return nil, fmt.Errorf("a memory of %d channels that sees %d columns (choose at least 1)", shape.Channels, shape.Project)
	case shape.Embedding > 0 && shape.Vocabulary < 1:
		return nil, fmt.Errorf("an embedding of %d tokens (name the size of the vocabulary)", shape.Vocabulary)
	case shape.looks() && (shape.Keys < 1 || shape.Products < 1):
		return nil, fmt.Errorf("attention with keys of %d and %d products (choose at least 1)", shape.Keys, shape.Products)
	case shape.looks() && promptRow == 0:
		return nil, fmt.Errorf("attention over prompts without states (collect those of the prompts' tokens, or choose -1 values for a head without attention)")
	case shape.Match == MatchStates && len(like) == 0:
		return nil, fmt.Errorf("attention that starts from like states, in rows without states (choose features with the block %s or %s, or the match %s)", Hidden, Previous, MatchTokens)
	}
	m := &recallNet{shape: shape, width: width, joined: shape.Project + shape.Embedding, promptRow: promptRow, like: like}
	m.in = m.joined + shape.Scan
	m.found = shape.Project + 2*shape.Scan
	m.z = m.in
	if shape.looks() {
		m.atRead, m.atM = m.in, m.in+shape.Values
		m.atG = m.atM + matchLevels + 1
		m.z = m.atG + shape.Products
		m.list = append(m.list,
			tensor{"key.weight", shape.Keys, m.found, true}, tensor{"value.weight", shape.Values, m.found, true},
			tensor{"query.weight", shape.Keys, m.in, true}, tensor{"match.bias", 1, matchLevels + 1, false}, tensor{"null.value", 1, shape.Values, false},
			tensor{"product.said.weight", shape.Products, m.in, true}, tensor{"product.found.weight", shape.Products, shape.Values, true},
			tensor{"prompt.weight", shape.Project, promptRow, true})
	}
	m.project = len(m.list)
	m.list = append(m.list, tensor{"input.weight", shape.Project, width, true})
	m.embedding = len(m.list)
	if shape.Embedding > 0 {
		m.list = append(m.list, tensor{"token.embedding", shape.Vocabulary, shape.Embedding, true})
	}
	m.hidden = len(m.list)
	m.decay = m.hidden + 4
	m.list = append(m.list,
		tensor{"hidden.weight", shape.Hidden, m.z, true}, tensor{"hidden.bias", 1, shape.Hidden, false},
		tensor{"write.weight", shape.Channels, shape.Hidden, true}, tensor{"write.bias", 1, shape.Channels, false},
		tensor{"decay", 1, shape.Channels, false})
	m.start = len(m.list)
	m.list = append(m.list, tensor{"start.bias", 1, shape.Channels, false})
	if promptRow > 0 {
		m.list = append(m.list, tensor{"start.weight", shape.Channels, shape.Project, true})
	}
	m.top = len(m.list)
	outs := shape.outputs()
	if shape.Advantages {
		m.list = append(m.list, tensor{"out.weight", outs, shape.Channels, true}, tensor{outBias, 1, outs, false})
	} else {
		m.list = append(m.list,
			tensor{"top.weight", shape.Hidden, shape.Channels, true}, tensor{"top.bias", 1, shape.Hidden, false},
			tensor{"out.weight", outs, shape.Hidden, true}, tensor{outBias, 1, outs, false})
	}
	m.scans = len(m.list)
	if shape.Scan > 0 {
		m.said = scan{"said", m.joined, shape.Scan, false}
		m.list = append(m.list, m.said.tensors()...)
		if shape.looks() {
			m.forth, m.back = scan{"forth", shape.Project, shape.Scan, false}, scan{"back", shape.Project, shape.Scan, true}
			m.list = append(append(m.list, m.forth.tensors()...), m.back.tensors()...)
		}
	}
	return m, nil
}

func (m *recallNet) tensors() []tensor { return m.list }

// init starts attention as a search for the tokens of the response: a token of the prompt
// attracts by the length of its match, and nothing is found where nothing matches. With
// MatchStates, one of a like state attracts too.
func (m *recallNet) init(params []float32, rng *rand.Rand) {
	p := parts(m, params)
	for i, part := range p {
		t := m.list[i]
		clear(part)
		if t.decay {
			normal(part, rng, 1/math.Sqrt(float64(t.cols)))
		}
	}
	if m.shape.looks() {
		copy(p[tBias], []float32{0, 5, 8, 10, 11, 5}) // the last is that of finding nothing
		for _, i := range []int{tKey, tQuery} {
			scale(p[i], 0.5)
		}
		scale(p[m.start+1], 0.3)
		if m.shape.Match == MatchStates {
			m.searchStates(p, rng)
		}
	}
	if m.shape.Embedding > 0 {
		normal(p[m.embedding], rng, 1)
	}
	for i := range p[m.decay] { // from forgetting at once to keeping for a hundred tokens
		p[m.decay][i] = -1 + 6*(float32(i)+0.5)/float32(m.shape.Channels)
	}
	if m.shape.Advantages {
		scale(p[m.top], 0.1)
	} else {
		scale(p[m.top], 0.5) // the memory of a slow channel is large
	}
	for i := m.scans; i < len(p); i += scanTensors {
		scan{in: m.list[i].cols, channels: m.shape.Scan}.init(p[i:], rng)
	}
}

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

// recallTape is what forward leaves for backward. All are [n][...].
type recallTape struct {
	p                  []float32 // [prompts' tokens][project]
	joined             []float32 // [n][joined]
	x                  []float32 // [n][in]
	said, forth, back  scanTape
	e                  []float32 // [prompts' tokens][found]
	key, val           []float32 // of all prompts' tokens
	query              []float32
	alpha              [][]float32 // of each response [T][P+1], the last column being the null slot
	matches            [][]match   // of each row with its prompt
	saidHere, foundNow []float32   // A x and B r
	z                  []float32   // [n][z]
	h                  mlpTape     // of W1
	u                  []float32   // [n][channels]
	decay              []float32   // [channels]
	start              []float32   // [responses][channels]
	c                  []float32   // [n][channels]
	t                  mlpTape     // of W3
}

func (m *recallNet) forward(params []float32, s *scratch) {
	p := parts(m, params)
	t := &recallTape{}
	s.tape = t
	m.join(p, s, t)
	if m.shape.Scan > 0 {
		t.said = m.said.forward(p[m.scans:], s, s.starts, t.joined)
	}
	m.inputs(s, t, t.said.s)
	if m.shape.looks() {
		m.look(p, s, t)
	}
	m.write(p, s, t)
	m.accumulate(p, s, t)
	m.read(p, s, t.c, &t.t)
}

// join projects the rows and puts the embeddings beside them.
func (m *recallNet) join(p [][]float32, s *scratch, t *recallTape) {
	t.joined = s.floats(s.n * m.joined)
	gemm(false, true, s.n, m.shape.Project, m.width, 1, s.x, m.width, p[m.project], m.width, 0, t.joined, m.joined)
	m.embed(p, s, t)
}

// embed puts the embeddings of the tokens, if there are any, beside the projected rows.
func (m *recallNet) embed(p [][]float32, s *scratch, t *recallTape) {
	j, e := m.shape.Project, m.shape.Embedding
	if e == 0 {
		return
	}
	for i := range s.n {
		copy(t.joined[i*m.joined+j:(i+1)*m.joined], p[m.embedding][m.bucket(s.tokens[i])*e:])
	}
}

// bucket is the row of the embedding of a token.
func (m *recallNet) bucket(token int32) int { return int(uint32(token)) % m.shape.Vocabulary }

// inputs puts the scan beside the joined rows, and both into z.
func (m *recallNet) inputs(s *scratch, t *recallTape, said []float32) {
	t.x, t.z = t.joined, s.floats(s.n*m.z)
	if k := m.shape.Scan; k > 0 {
		t.x = s.floats(s.n * m.in)
		for i := range s.n {
			row := t.x[i*m.in:]
			copy(row, t.joined[i*m.joined:(i+1)*m.joined])
			copy(row[m.joined:], said[i*k:(i+1)*k])
		}
	}
	for i := range s.n {
		copy(t.z[i*m.z:], t.x[i*m.in:(i+1)*m.in])
	}
}

// write computes u from the inputs z.
func (m *recallNet) write(p [][]float32, s *scratch, t *recallTape) {
	sh, n := m.shape, s.n
	size := n * sh.Hidden
	t.h = mlpTape{s.floats(size), s.floats(size), s.floats(size), s.mask(size)}
	fully(n, sh.Hidden, m.z, t.z, p[m.hidden], p[m.hidden+1], t.h.z)
	silu(t.h.z, t.h.sig, t.h.act, t.h.keep)
	t.u = s.floats(n * sh.Channels)
	fully(n, sh.Channels, sh.Hidden, t.h.act, p[m.hidden+2], p[m.hidden+3], t.u)
	if !sh.Advantages {
		tanh(t.u)
	}
}

// accumulate runs the memory along each response.
func (m *recallNet) accumulate(p [][]float32, s *scratch, t *recallTape) {
	ch := m.shape.Channels
	t.decay = m.decays(s.floats(ch), p[m.decay])
	t.c = s.floats(s.n * ch)
	responses := len(s.starts) - 1
	t.start = s.floats(responses * ch)
	for i := range responses {
		c := t.start[i*ch : (i+1)*ch]
		m.begin(p, m.lastOfPrompt(s, t, i), c)
		for k := s.starts[i]; k < s.starts[i+1]; k++ {
			u, next := t.u[k*ch:(k+1)*ch], t.c[k*ch:(k+1)*ch]
			for j, d := range t.decay {
				next[j] = d*c[j] + u[j]
			}
			c = next
		}
	}
}

// decays fills d with the decay of each channel.
func (m *recallNet) decays(d, logits []float32) []float32 {
	copy(d, logits)
	sigmoid(d)
	if m.shape.Advantages {
		for j := range d {
			d[j] = 1
		}
	}
	return d
}

// lastOfPrompt is the last projected row of the prompt of response i, nil for a head that
// does not look at it.
func (m *recallNet) lastOfPrompt(s *scratch, t *recallTape, i int) []float32 {
	if m.promptRow == 0 {
		return nil
	}
	return t.p[m.lastRow(s, i)*m.shape.Project:][:m.shape.Project]
}

func (m *recallNet) lastRow(s *scratch, i int) int {
	first, n := s.promptRows(i)
	return first + n - 1
}

// begin sets c to the memory of an empty response.
func (m *recallNet) begin(p [][]float32, last, c []float32) {
	copy(c, p[m.start])
	if last != nil {
		gemm(false, true, 1, len(c), len(last), 1, last, len(last), p[m.start+1], len(last), 1, c, len(c))
	}
}

// read computes s.out from n memories c.
func (m *recallNet) read(p [][]float32, s *scratch, c []float32, t *mlpTape) {
	sh, n := m.shape, s.n
	if sh.Advantages {
		fully(n, sh.outputs(), sh.Channels, c, p[m.top], p[m.top+1], s.out)
		return
	}
	size := n * sh.Hidden
	*t = mlpTape{s.floats(size), s.floats(size), s.floats(size), s.mask(size)}
	fully(n, sh.Hidden, sh.Channels, c, p[m.top], p[m.top+1], t.z)
	silu(t.z, t.sig, t.act, t.keep)
	fully(n, sh.outputs(), sh.Hidden, t.act, p[m.top+2], p[m.top+3], s.out)
}
