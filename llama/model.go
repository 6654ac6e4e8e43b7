package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/cgo"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// SplitMode says how a model is spread over several GPUs (enum llama_split_mode).
type SplitMode int32

const (
	SplitLayer SplitMode = 0 // layers and their KV cells; the default
	SplitNone  SplitMode = 1 // one GPU
	SplitRow   SplitMode = 2 // rows of the matrices
)

func (s SplitMode) ggml() C.int32_t {
	switch s {
	case SplitNone:
		return 0
	case SplitRow:
		return 2
	}
	return 1
}

// ModelParams are the options of [Load] (llama_model_params). The zero value maps the
// file into memory and computes on the CPU.
type ModelParams struct {
	GPULayers    int       // layers to offload to the GPUs, -1 for all
	Devices      []string  // names of [Devices] to offload to; nil for all
	Split        SplitMode // over several GPUs
	MainGPU      int       // index of the GPU that SplitNone uses
	TensorSplit  []float32 // share of each GPU, in the order of the devices; nil by free memory
	VocabOnly    bool      // tokenizer only, no weights
	NoMmap       bool      // read the file into memory instead
	Mlock        bool      // keep the weights from being swapped out
	CheckTensors bool      // refuse NaN and infinite weights; reads the whole file
	// Pretokenizer is the rule by which texts are cut before their bytes are merged, as
	// llama.cpp names it: default, llama-bpe, qwen2. It is taken for a BPE vocabulary whose file
	// names none or one that this llama.cpp does not know, which is refused without it.
	Pretokenizer string
	// Progress, if set, is called with values from 0 to 1 and cancels by returning false.
	Progress func(float32) bool
}

// Model is a loaded GGUF model (llama_model). It is safe for concurrent use until Close.
type Model struct {
	c    *C.ivo_model
	path string
	head *gguf.File
	info ModelInfo
	refs atomic.Int64 // open contexts
	away string       // see Offload

	using  sync.RWMutex // held for reading while C reads the model: Close waits
	closed atomic.Bool

	identity struct {
		sync.Mutex
		fingerprint string // once it is known
	}

	grammars struct {
		sync.Mutex
		kept []*Rules
	}

	adapted  adapted    // what its contexts are made with
	adapters sync.Mutex // held while an adapter loads
	loras    []*C.ivo_lora
	tok      *vocabulary
}

// ModelInfo describes a model.
type ModelInfo struct {
	Desc         string // llama.cpp's description, such as "llama 1B Q8_0"
	Architecture string
	Name         string
	Vocab        int // tokens
	Width        int // n_embd, the length of a hidden state
	Layers       int
	Heads        int
	KVHeads      int
	ContextTrain int // tokens of context the model was trained with
	Window       int // tokens of sliding-window attention, 0 without
	Params       uint64
	Size         uint64 // bytes of weights
	Recurrent    bool   // its memory cannot be trimmed or partly copied
	HasDecoder   bool
	Encoder      bool // it reads its prompt with an encoder
}

// loadNoise takes off what llama.cpp puts around every reason for a failed load.
var loadNoise = strings.NewReplacer("llama_model_load: error loading model: ", "", "; llama_model_load_from_file_impl: failed to load model", "")

// ParseShares reads the shares of a tensor split, such as "3,1".
func ParseShares(text string) (shares []float32, err error) {
	for _, share := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '/' }) {
		x, err := strconv.ParseFloat(share, 32)
		if err != nil || !(x >= 0) {
			return nil, fmt.Errorf("%q (give shares such as 3,1)", text)
		}
		shares = append(shares, float32(x))
	}
	return shares, nil
}

// Load reads the GGUF model at path (llama_model_load_from_file); of a split model,
// path is the first file, and the others lie beside it. The headers are checked in Go
// before llama.cpp sees them. Errors are [*Error] or [*gguf.Error].
func Load(path string, p ModelParams) (*Model, error) {
	head, err := gguf.ReadModel(path)
	if err != nil {
		hint := "check the path of {model}"
		var bad *gguf.Error
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("load: %w", err)
		}
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Error{Op: "load", Path: path, Err: err, Hint: hint}
	}
	pre, err := p.examine(head)
	if err != nil {
		return nil, err
	}

	start()
	takeErrors()
	cp := C.ivo_model_params{
		n_gpu_layers: C.int32_t(p.GPULayers), vocab_only: C.bool(p.VocabOnly), use_mmap: C.bool(!p.NoMmap),
		use_mlock: C.bool(p.Mlock), check_tensors: C.bool(p.CheckTensors),
	}
	if p.GPULayers < 0 {
		cp.n_gpu_layers = 1 << 20
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	if err := p.placeOn(&cp, Devices(), &pin); err != nil {
		return nil, err
	}
	cancelled := false
	if p.Progress != nil {
		h := cgo.NewHandle(func(x float32) bool {
			cancelled = !p.Progress(x)
			return !cancelled
		})
		defer h.Delete()
		cp.progress = C.uintptr_t(h)
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	try := func() *C.ivo_model {
		if pre != "" {
			slog.Warn("texts are cut into tokens by another rule than the model's own, which is not known here", "rule", pre, "model", path)
			cp.pre = C.CString(pre)
			defer C.free(unsafe.Pointer(cp.pre))
		}
		return C.ivo_model_load(cpath, &cp)
	}
	c, msg := try(), takeErrors()
	if c == nil && pre == "" && p.Pretokenizer != "" && unknownPretokenizer(msg) {
		pre = p.Pretokenizer
		c, msg = try(), takeErrors()
	}
	if c == nil {
		if arch, tokenizer := unknownBy(msg); arch || tokenizer {
			return nil, unknown(head, arch, tokenizer)
		}
		bad := &Error{Op: "load", Path: path, Err: errors.New("llama.cpp could not load it"),
			Hint: "run ivo inspect on the file; it may be damaged, or newer than this llama.cpp"}
		switch {
		case cancelled:
			bad.Err = ErrCancelled
		case msg != "":
			bad.Err = errors.New(loadNoise.Replace(msg))
		}
		if unknownPretokenizer(msg) {
			bad.Hint = hintPretokenizer()
		}
		return nil, bad
	}
	m := &Model{c: c, path: path, head: head, away: p.offload(Devices())}
	m.describe(!p.VocabOnly)
	if err := m.readPieces(); err != nil {
		m.Close()
		return nil, &Error{Op: "load", Path: path, Err: err, Hint: "the vocabulary may be damaged"}
	}
	return m, nil
}

// examine refuses a header that llama.cpp would not load, as far as can be told before it tries. pre
// is what stands in for the model's pre-tokenizer, "" where its own serves.
func (p *ModelParams) examine(head *gguf.File) (pre string, err error) {
	if t := head.Str("general.type"); t != "" && t != "model" {
		return "", &Error{Op: "load", Path: head.Path, Err: fmt.Errorf("a GGUF file of type %q, not a model", t),
			Hint: "take another file; a head is for {value_head}"}
	}
	if head.Str("general.architecture") == "" {
		return "", &Error{Op: "load", Path: head.Path, Err: errors.New("the GGUF file names no architecture"), Hint: "it is not a language model"}
	}
	if err := checkKnown(head); err != nil {
		return "", err
	}
	if pre, err = p.pretokenizer(head); err == nil {
		err = check(head, pre, p.VocabOnly)
	}
	if err != nil {
		err.(*Error).Path = head.Path
	}
	return pre, err
}

// Loadable is why [Load] would refuse a model, as far as its header tells; nil if nothing speaks
// against it.
func Loadable(head *gguf.File) error {
	if _, err := new(ModelParams).examine(head); err != nil {
		return err
	}
	if !slices.ContainsFunc(head.Parts(), func(part *gguf.File) bool { return len(part.Tensors) > 0 }) {
		return &Error{Op: "load", Path: head.Path, Err: errors.New("it holds no weights"), Hint: "it is a vocabulary alone"}
	}
	return nil
}

// placeOn turns the choice of devices into llama.cpp's terms.
func (p *ModelParams) placeOn(cp *C.ivo_model_params, devices []Device, pin *runtime.Pinner) error {
	const op = "load"
	var names []string
	for _, d := range devices {
		names = append(names, d.Name)
	}
	available := "this build has " + strings.Join(names, ", ")
	switch {
	case p.Split < SplitLayer || p.Split > SplitRow:
		return failf(op, "use the constants of this package", "split mode %d", p.Split)
	case p.MainGPU < 0 || (p.MainGPU > 0 && p.MainGPU >= len(devices)):
		return failf(op, available, "main GPU %d", p.MainGPU)
	case len(p.TensorSplit) > len(devices):
		return failf(op, available, "a tensor split of %d values", len(p.TensorSplit))
	}
	cp.split_mode, cp.main_gpu = p.Split.ggml(), C.int32_t(p.MainGPU)
	if !slices.ContainsFunc(devices, func(d Device) bool { return d.Type == DeviceGPU || d.Type == DeviceIntegratedGPU }) {
		cp.main_gpu = -1 // llama.cpp refuses 0 where there is none
	}
	if len(p.TensorSplit) > 0 {
		shares, sum := make([]float32, len(devices)), float32(0)
		for i, x := range p.TensorSplit {
			if !(x >= 0) || math.IsInf(float64(x), 1) {
				return failf(op, "give shares such as 3,1", "a tensor split of %v", p.TensorSplit)
			}
			shares[i] = x
			sum += x
		}
		if sum == 0 {
			return failf(op, "give shares such as 3,1", "a tensor split of %v", p.TensorSplit)
		}
		pin.Pin(&shares[0])
		cp.tensor_split = (*C.float)(unsafe.Pointer(&shares[0]))
	}
	if len(p.Devices) > 0 {
		index := make([]int32, len(p.Devices))
		for i, name := range p.Devices {
			j := slices.Index(names, name)
			if j < 0 || slices.Contains(index[:i], int32(j)) {
				return failf(op, available, "device %q", name)
			}
			if devices[j].Type == DeviceCPU {
				// llama.cpp always has the CPU as well; named as a device to offload to it fails.
				return failf(op, "leave the devices out and offload no layers to compute on the CPU", "device %q is the CPU", name)
			}
			index[i] = int32(j)
		}
		pin.Pin(&index[0])
		cp.devices, cp.n_devices = (*C.int32_t)(unsafe.Pointer(&index[0])), C.int32_t(len(index))
	}
	return nil
}

func (m *Model) describe(weights bool) {
	var ci C.ivo_model_info
	desc := make([]byte, 256)
	C.ivo_model_describe(m.c, C.bool(weights), &ci, (*C.char)(unsafe.Pointer(&desc[0])), C.size_t(len(desc)))
	m.info = ModelInfo{
		Desc:         C.GoString((*C.char)(unsafe.Pointer(&desc[0]))),
		Architecture: m.head.Str("general.architecture"),
		Name:         m.head.Str("general.name"),
		Vocab:        int(ci.n_vocab), Width: int(ci.n_embd), Layers: int(ci.n_layer), Heads: int(ci.n_head), KVHeads: int(ci.n_head_kv),
		ContextTrain: int(ci.n_ctx_train), Window: int(ci.n_swa), Params: uint64(ci.n_params), Size: uint64(ci.size),
		Recurrent: bool(ci.recurrent), HasDecoder: bool(ci.has_decoder), Encoder: bool(ci.has_encoder),
	}
	kind := m.head.Str("tokenizer.ggml.model")
	m.tok = &vocabulary{
		none: kind == "" || kind == "none" || kind == "no_vocab",
		special: SpecialTokens{
			BOS: int32(ci.bos), EOS: int32(ci.eos), EOT: int32(ci.eot), Newline: int32(ci.nl), Pad: int32(ci.pad), Separator: int32(ci.sep),
			Mask: int32(ci.mask), FIMPrefix: int32(ci.fim_pre), FIMSuffix: int32(ci.fim_suf), FIMMiddle: int32(ci.fim_mid),
		},
		kind: VocabType(ci.vocab_type), addBOS: bool(ci.add_bos), eog: make([]bool, ci.n_vocab), chatTemplate: C.GoString(ci.chat_template),
	}
	for i := range m.tok.eog {
		m.tok.eog[i] = bool(C.ivo_is_eog(m.c, C.int32_t(i)))
	}
}

// readPieces keeps the texts of all tokens.
func (m *Model) readPieces() (err error) {
	if m.tok.none {
		return nil
	}
	m.tok.pieces = make([][]byte, m.info.Vocab)
	for i := range m.tok.pieces {
		if m.tok.pieces[i], err = m.readPiece(int32(i), false); err != nil {
			return err
		}
		m.tok.pieces[i] = slices.Clip(slices.Clone(m.tok.pieces[i]))
	}
	return nil
}

// Close frees the model (llama_model_free). Its contexts must be closed first. A
// second Close does nothing.
func (m *Model) Close() error {
	m.using.Lock()
	defer m.using.Unlock()
	if m.closed.Load() {
		return nil
	}
	if n := m.refs.Load(); n > 0 {
		return failf("close model", "close its contexts and grammars first", "%d of them are open", n)
	}
	m.closed.Store(true)
	for _, l := range m.loras {
		C.ivo_lora_free(l)
	}
	C.ivo_model_free(m.c)
	m.c = nil
	return nil
}

// enter keeps the model from being closed until leave.
func (m *Model) enter(op string) error {
	m.using.RLock()
	if m.closed.Load() {
		m.using.RUnlock()
		return &Error{Op: op, Err: ErrClosed}
	}
	return nil
}

func (m *Model) leave() { m.using.RUnlock() }

// Info describes the model (llama_model_desc, llama_model_n_embd and their like).
func (m *Model) Info() ModelInfo { return m.info }

// Path is the file the model was loaded from.
func (m *Model) Path() string { return m.path }

// Offload says what besides the CPU computes the model, as far as its numbers depend on that; "" for the CPU alone.
func (m *Model) Offload() string { return m.away }

// Metadata is the GGUF header of the file, or of the first file of a split model.
func (m *Model) Metadata() *gguf.File { return m.head }

// Fingerprint identifies the weights: two models have the same one only if all bits of their
// tensors agree, and of their adapters. It is [Model.Identify] without a word of how far it is.
func (m *Model) Fingerprint() (string, error) { return m.Identify(context.Background(), nil) }

// Identify is the fingerprint of the weights, and of the model's [Adapters] behind it. The whole file is read for it, once: its sums are
// kept in ivo's cache until it changes. progress, if set, is told how many bytes are read, of
// how many in all; it is not called when there is nothing to read.
func (m *Model) Identify(ctx context.Context, progress func(done, total int64)) (string, error) {
	m.identity.Lock()
	defer m.identity.Unlock()
	if m.identity.fingerprint == "" {
		var err error
		if m.identity.fingerprint, err = fingerprint.Of(ctx, m.head, progress); err != nil {
			return "", err
		}
	}
	return m.identity.fingerprint + m.adapted.id, nil
}
