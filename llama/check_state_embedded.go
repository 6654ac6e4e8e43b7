//go:build !llama_system

package llama

import (
	"encoding/binary"
	"errors"
)

// checkSaved looks at the cells in llama.cpp's bytes of a sequence of n tokens, which llama.cpp takes as they are: a position
// below 0 would end the process (llama_kv_cells::seq_add). The keys and values that follow it checks itself. A cache with a window is
// two such lists, one after the other. Of recurrent models the cells are others, and llama.cpp gives up on those that are wrong.
func (c *Context) checkSaved(body []byte, n int) error {
	if c.model.info.Recurrent {
		return nil
	}
	s := savedCells{left: body, cells: uint64(c.params.Ctx), tokens: uint32(n)}
	for len(s.left) > 0 && !s.wrong {
		s.cache()
	}
	if s.wrong {
		return errors.New("its cells are none of a sequence of so many tokens")
	}
	return nil
}

// savedCells reads what llama_kv_cache::state_write wrote.
type savedCells struct {
	left   []byte
	cells  uint64 // of the context
	tokens uint32
	wrong  bool
}

// skip goes on by so many bytes, which it returns; nil where there are fewer.
func (s *savedCells) skip(n uint64) (skipped []byte) {
	if n > uint64(len(s.left)) {
		s.wrong = true
	}
	if s.wrong {
		return nil
	}
	skipped, s.left = s.left[:n], s.left[n:]
	return skipped
}

func (s *savedCells) u32() uint64 {
	b := s.skip(4)
	if b == nil {
		return 0
	}
	return uint64(binary.LittleEndian.Uint32(b))
}

// cache goes on by a cache: of each stream the cells, then their keys, then their values.
func (s *savedCells) cache() {
	for streams := s.u32(); streams > 0 && !s.wrong; streams-- {
		n := s.u32()
		if s.wrong = s.wrong || n > s.cells; n == 0 || s.wrong {
			continue
		}
		for range n {
			position := s.u32()
			s.wrong = s.wrong || position >= uint64(s.tokens)
			s.skip(8) // the number of its sequences, and the sequence
		}
		transposed, layers := s.u32() != 0, s.u32()
		s.rows(layers, n)
		if !transposed {
			s.rows(layers, n)
			continue
		}
		for ; layers > 0 && !s.wrong; layers-- {
			s.skip(4) // the type
			size := s.u32()
			s.skip(n * min(size*s.u32(), uint64(len(s.left))+1))
		}
	}
}

// rows goes on by a row a cell in each layer, of a size that each layer tells.
func (s *savedCells) rows(layers, n uint64) {
	for ; layers > 0 && !s.wrong; layers-- {
		s.skip(4) // the type
		if b := s.skip(8); b != nil {
			s.skip(n * min(binary.LittleEndian.Uint64(b), uint64(len(s.left))+1))
		}
	}
}
