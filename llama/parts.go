package llama

// Filled tells how many cells of the context hold tokens. It makes no difference but to speed, where many
// sequences see few of these each.
func (c *Context) Filled(cells int) error {
	if err := c.enter("filled cells"); err != nil {
		return err
	}
	defer c.leave()
	c.filled = cells
	return nil
}

// Newer llama.cpp's flash attention on the CPU computes tiles of so many tokens by as many cells, all of a tile
// where one token sees one of its cells; fewer tokens are computed one by one, and only where they see
// (ggml_compute_forward_flash_attn_ext_tiled, GGML_FA_TILE_Q).
const tile = 64

var tiles = tiled // tests have them everywhere

// wasted is how many times as many cells as tokens see there have to be for tiles to be the slower way.
// docs/log.md has the measurement.
const wasted = 8

// promptLike is the number of tokens of each sequence from which on a batch is one of prompts: a tile is then of few sequences,
// and the cells of the others are passed over.
const promptLike = 4

// part is the number of tokens that are best decoded at once of a batch of tokens of these positions and sequences, 0 for
// all.
func (c *Context) part(positions, sequences []int32) int {
	p := c.params
	if !tiles || len(positions) < tile || p.Streams || p.Flash == FlashOff || p.CacheK.block() > 1 || p.CacheV.block() > 1 || c.model.info.Recurrent || SupportsGPU() {
		return 0
	}
	seen, runs := 0, 1
	for i, pos := range positions {
		seen += int(pos) + 1
		if i > 0 && sequences[i] != sequences[i-1] {
			runs++
		}
	}
	if len(positions) >= promptLike*runs || seen*wasted > c.filled*len(positions) {
		return 0
	}
	return tile - 1
}
