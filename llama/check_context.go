package llama

import "math"

// positions is the number of positions that the model has learned an embedding for,
// 0 if it computes them.
func (m *Model) positions() int32 {
	if t, ok := findTensor(m.head, "position_embd.weight"); ok && len(t.Shape) > 1 {
		return int32(min(t.Shape[1], math.MaxInt32))
	}
	return 0
}

// CellBytes is the memory that a cell of the KV cache takes at most, of such types: layers with a sliding
// window, or without attention, need less.
func (m *Model) CellBytes(k, v CacheType) float64 {
	bytes := func(t CacheType) float64 { return float64(t.size(32)) / 32 }
	arch := m.info.Architecture
	heads := float64(m.info.KVHeads * m.info.Layers)
	switch v := m.head.Value(arch + ".attention.head_count_kv").(type) {
	case []int32:
		heads = 0
		for _, n := range v {
			heads += float64(n)
		}
	case []uint32:
		heads = 0
		for _, n := range v {
			heads += float64(n)
		}
	default:
		if m.info.Recurrent {
			heads = 0
		}
	}
	return heads * (float64(m.headWidth("key"))*bytes(k) + float64(m.headWidth("value"))*bytes(v))
}

// cacheBytes is the least memory that a context's KV cache takes: only layers sure to hold all cells are counted.
func (m *Model) cacheBytes(p ContextParams) float64 {
	if m.info.Window > 0 {
		return 0
	}
	return float64(max(p.Ctx, 256)) * m.CellBytes(p.CacheK, p.CacheV)
}

// statesBytes is what the recurrent layers keep of all sequences.
func (m *Model) statesBytes(p ContextParams) float64 {
	arch, layers := m.info.Architecture, 0
	for _, recurrent := range recurrentLayers(m.head, arch, m.info.Layers) {
		if recurrent {
			layers++
		}
	}
	each := stateBytes(func(key string) uint64 {
		n, _ := m.head.Int(arch + "." + key)
		return uint64(max(n, 0))
	})
	return float64(layers) * float64(each) * float64(p.Sequences)
}

// checkMemory refuses a context whose KV cache, or whose states, no memory of this machine can hold.
func (m *Model) checkMemory(op string, p ContextParams) error {
	total := 0.0
	for _, d := range Devices() {
		total += float64(d.Total)
	}
	if need := m.statesBytes(p); total > 0 && need > total {
		return failf(op, "lower {parallel}", "the states of %d sequences take %.0f GiB, this machine has %.0f", p.Sequences, need/(1<<30), total/(1<<30))
	}
	if need := m.cacheBytes(p); total > 0 && need > total {
		return failf(op, "lower {ctx}", "the KV cache of %d tokens takes %.0f GiB, this machine has %.0f", p.Ctx, need/(1<<30), total/(1<<30))
	}
	return nil
}
