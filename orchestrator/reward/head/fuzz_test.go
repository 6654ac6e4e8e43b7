package head_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// Whatever a file holds, it is refused with a word on what to do, or is a head that can be saved again.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	path, again := filepath.Join(dir, "head.gguf"), filepath.Join(dir, "again.gguf")
	if err := random().Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		h, err := head.Load(path)
		switch {
		case err != nil && (!strings.HasSuffix(err.Error(), ")") || !strings.Contains(err.Error(), path)):
			t.Errorf("it does not say which file, or what to do: %v", err)
		case err == nil:
			if err := h.Save(again); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

// Whatever the files of a checkpoint hold, they are refused with a word on what to do, or are a head that can be saved.
func FuzzImport(f *testing.F) {
	dir := f.TempDir()
	tensors := func(header string, n int) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+strings.Repeat("\x00", n)...)
	}
	const index = `{"weight_map": {"score.weight": "model.safetensors"}}`
	f.Add([]byte(`{"architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "hidden_size": 4, "vocab_size": 8, "pad_token_id": 2}`), []byte(index), tensors(`{"score.weight":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}`, 16), []byte(`{"chat_template": "{{ messages }}"}`))
	f.Add([]byte(`{"hidden_size": 2, "text_config": {"hidden_size": 2}, "gating_temperature": 0}`), []byte{}, tensors(`{"v_head.summary.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},"v_head.summary.bias":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}}`, 6), []byte(`{"chat_template": [{"name": "default", "template": "a"}]}`))
	f.Add([]byte(`{"hidden_size": 2}`), []byte{}, tensors(`{"score.0.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"score.2.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[16,24]}}`, 24), []byte{})
	f.Fuzz(func(t *testing.T, config, index, tensors, tokenizer []byte) {
		for name, data := range map[string][]byte{"config.json": config, "model.safetensors.index.json": index, "model.safetensors": tensors, "tokenizer_config.json": tokenizer} {
			path := filepath.Join(dir, name)
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if len(data) == 0 && name != "model.safetensors" {
				continue
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		h, err := head.Import(dir)
		switch {
		case err != nil && !strings.HasSuffix(err.Error(), ")"):
			t.Errorf("nothing to do about it: %v", err)
		case err == nil:
			if err := h.Save(filepath.Join(dir, "head.gguf")); err != nil {
				t.Errorf("what was imported cannot be saved: %v", err)
			}
		}
	})
}
