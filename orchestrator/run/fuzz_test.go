package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Whatever lies under the name of a run's file is read or refused; under a sum that fits it too. A ledger of any
// content is one, and says nothing done that is not.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"key":"k","sum":"0000000000000000","from":{"a.json":"b"},"with":{"c":{"bytes":1,"xxhash64":"0"}}}`+"\n"+`{"id":"a","text":"b"}`+"\n"), false)
	f.Add([]byte("{\n \"key\": \"k\",\n \"sum\": \"0000000000000000\",\n \"mean\": 1\n}\n"), false)
	f.Add([]byte(`{"key":"k","sum":"0000000000000000"}`+"\n[1"), true)
	f.Add([]byte(`{"version":2,"entries":{"eval.json":{"key":"k","files":{"eval.json":{"bytes":0,"xxhash64":"ef46db3751d8e999"}}}}}`), false)
	dir := f.TempDir()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, packed bool) {
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, fits := range []bool{false, true} {
			text := append([]byte{}, data...)
			if fits {
				seal(text)
			}
			whole := text
			if packed {
				whole = z.EncodeAll(text, nil)
			}
			path := d.Path("eval.json")
			if err := os.WriteFile(path, whole, 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := ReadStamp(path)
			if err == nil && s.Sum == "" {
				t.Error("a file without a sum is read")
			}
			Lines[json.RawMessage](path)
			Value[map[string]any](path)
			Faults(dir)
			ledger := filepath.Join(dir, ledgerFile)
			if err := os.WriteFile(ledger, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if d.ledger, err = readLedger(ledger); err != nil || d.ledger.Entries == nil {
				t.Errorf("a ledger: %v", err)
			}
			if done, err := d.Done("iter-01/metrics.json", "k"); done || err != nil {
				t.Errorf("a file that is not there is done: %v", err)
			}
			d.Done("eval.json", "k")
		}
	})
}
