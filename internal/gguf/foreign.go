package gguf

import (
	"bytes"
	"encoding/binary"
)

// sniffed is how many bytes of a file [Foreign] is told by.
const sniffed = 512

// Foreign says what a file that is no GGUF file is, as far as its first bytes tell, and
// what to do about it; what is empty where they do not.
func Foreign(head []byte) (what, hint string) {
	const convert = "get a GGUF of the model, or convert it with llama.cpp's convert_hf_to_gguf.py"
	head = head[:min(len(head), sniffed)]
	for _, k := range []struct{ magic, what, hint string }{
		{"version https://git-lfs", "a Git LFS pointer, which stands for the file", "download the file itself: git lfs pull, or its download link, not a link to view it"},
		{"/annex/objects/", "a git-annex pointer, which stands for the file", "get the file itself with git annex get"},
		{"lmgg", ggml, convert}, {"fmgg", ggml, convert}, {"tjgg", ggml, convert},
		{"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"},
		{"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd"},
		{"\xfd7zXZ", "compressed with xz", "unpack it with unxz"},
		{"BZh", "compressed with bzip2", "unpack it with bunzip2"},
		{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and give the GGUF file that it may hold"},
		{"\x80\x02", torch, convert}, {"\x80\x04", torch, convert}, // pickle protocols
	} {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return k.what, k.hint
		}
	}
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"))
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) && bytes.Contains(head, []byte("data.pkl")):
		return torch, convert
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return "a zip archive", "unpack it, and give the GGUF file that it may hold"
	case len(head) > 8 && head[8] == '{' && binary.LittleEndian.Uint64(head) < 1<<32:
		return "a safetensors file", convert
	case bytes.HasPrefix(text, []byte("<!doctype")), bytes.HasPrefix(text, []byte("<html")), bytes.HasPrefix(text, []byte("<?xml")), bytes.HasPrefix(text, []byte("<head")):
		return WebPage, "download the file again by its own address: a page to sign in on, or to view the file on, may have come instead"
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return "a JSON file", "give the GGUF file"
	case bytes.HasPrefix(head, []byte("IVOSTATE")):
		return "a shard of ivo's stored states", "give the GGUF file"
	}
	return "", ""
}

// WebPage is what [Foreign] says of a web page.
const WebPage = "a web page, not the file that was meant"

const (
	ggml  = "a model in a format older than GGUF"
	torch = "a PyTorch checkpoint"
)
