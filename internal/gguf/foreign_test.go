package gguf_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// What is taken for a model most often is named, with what to do about it.
func TestForeign(t *testing.T) {
	for name, tc := range map[string]struct{ content, says, hint string }{
		"LFS pointer":    {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4860000\n", "Git LFS pointer", "git lfs pull"},
		"web page":       {"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "web page", "download"},
		"page, indented": {"\xef\xbb\xbf\n  <HTML lang=en>", "web page", "download"},
		"safetensors":    {"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{\"dtype\":\"F32\"", "safetensors", "convert_hf_to_gguf"},
		"PyTorch, zip":   {"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "PyTorch", "convert_hf_to_gguf"},
		"PyTorch, old":   {"\x80\x02\x8a\nl\xfc\x9c", "PyTorch", "convert_hf_to_gguf"},
		"zip":            {"PK\x03\x04\x14\x00\x00\x00model.gguf", "zip archive", "unpack"},
		"gzip":           {"\x1f\x8b\x08\x00", "gzip", "gunzip"},
		"zstd":           {"\x28\xb5\x2f\xfd\x04", "zstd", "unzstd"},
		"ggml":           {"tjgg\x03\x00\x00\x00", "older than GGUF", "GGUF"},
		"config":         {"{\"error\": \"not found\"}", "JSON", "GGUF"},
		"states":         {"IVOSTATE\x01", "states", "GGUF"},
		"big-endian":     {"GGUF\x00\x00\x00\x03\x00\x00", "big-endian", "little-endian"},
		"future":         {"GGUF\x07\x00\x00\x00\x00\x00", "version 7", "versions 2 and 3"},
		"anything":       {"hello, this is no model at all", "not a GGUF file", "convert"},
		"cut":            {"GG", "not a GGUF file", "convert"},
	} {
		path := filepath.Join(t.TempDir(), "x.gguf")
		if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := gguf.Read(path)
		var e *gguf.Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, tc.says) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
