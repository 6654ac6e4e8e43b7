package fingerprint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/cachedir"
)

// keptFrom is the size of a file from which on its sums are worth keeping.
var keptFrom int64 = 32 << 20

// settled is how long ago a file must have changed for its times to tell the next change:
// file systems count them in ticks.
var settled = 100 * time.Millisecond

// kept is the place of a file's sums in the cache: a file named by its path, which holds
// what identified it when it was read (path, size, inode, times of change), the sums, and a
// checksum. Whatever is wrong with it, or with the cache, the file is read anew.
type kept struct {
	path     string // in the cache; "" for not to be kept
	identity string
	now      func() string // the file's identity
}

func newKept(fd *os.File) *kept {
	path, err := filepath.Abs(fd.Name())
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	st, err2 := fd.Stat()
	if err != nil || err2 != nil || st.Size() < keptFrom {
		return &kept{}
	}
	now := func() string {
		st, err := fd.Stat()
		if err != nil {
			return ""
		}
		inode, changed := unique(st)
		if time.Since(changed) < settled {
			return ""
		}
		return fmt.Sprintf("%s\n%d %d %d %d\n", path, st.Size(), inode, st.ModTime().UnixNano(), changed.UnixNano())
	}
	k := &kept{identity: now(), now: now}
	if k.identity == "" {
		return k
	}
	name := sha256.Sum256([]byte(path))
	if k.path, err = cachedir.Path("fingerprints", fmt.Sprintf("%x", name[:16])); err != nil {
		k.path = ""
	}
	return k
}

const keptMagic = "ivo fingerprint 1\n"

// read returns the sums of a file's n tensors, if they are there and the file is the same.
func (k *kept) read(n int) ([]uint64, bool) {
	data, err := os.ReadFile(k.path)
	head := keptMagic + k.identity
	if k.path == "" || err != nil || len(data) != len(head)+8*n+8 || string(data[:len(head)]) != head {
		return nil, false
	}
	body := data[:len(data)-8]
	if binary.LittleEndian.Uint64(data[len(body):]) != xxhash.Sum64(body) {
		return nil, false
	}
	sums := make([]uint64, n)
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint64(body[len(head)+8*i:])
	}
	return sums, true
}

// write keeps the sums, if the file is still the same. A cache that cannot be written is
// none: the file is read anew the next time.
func (k *kept) write(sums []uint64) {
	if k.path == "" || k.now() != k.identity || os.MkdirAll(filepath.Dir(k.path), 0o755) != nil {
		return
	}
	data := []byte(keptMagic + k.identity)
	for _, sum := range sums {
		data = binary.LittleEndian.AppendUint64(data, sum)
	}
	atomicfile.WriteBytes(k.path, binary.LittleEndian.AppendUint64(data, xxhash.Sum64(data)))
}
