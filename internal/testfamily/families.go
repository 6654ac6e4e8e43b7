package testfamily

// Tensors and keys are named as llama.cpp's converters name them (gguf-py/gguf/constants.py).

func llama(b *build) { b.plain(func(p string) { b.attention(p, heads*head, false) }) }
func qwen2(b *build) { b.plain(func(p string) { b.attention(p, heads*head, true) }) }

func qwen3(b *build) {
	b.plain(func(p string) {
		b.attention(p, heads*head, false)
		b.headNorms(p)
	})
}

// plain makes layers of attention and a gated feed-forward network.
func (b *build) plain(attention func(p string)) {
	b.hasHeads(uint32(kvHeads))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(3, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"ffn_norm")
		attention(p)
		b.feedForward(p)
	})
	b.norm("output_norm")
}

func qwen3moe(b *build) {
	b.hasHeads(uint32(kvHeads))
	b.hasExperts()
	b.key("feed_forward_length", uint32(ff))
	b.blocks(3, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"ffn_norm")
		b.attention(p, heads*head, false)
		b.headNorms(p)
		b.expertFeedForward(p)
	})
	b.norm("output_norm")
}

// The gated delta net of Qwen3-Next and Qwen3.5: heads of keys, and of values, and their width.
const deltaKeys, deltaValues, deltaHead = 1, 2, 16

func (b *build) hasDeltaNet() {
	b.key("ssm.conv_kernel", uint32(4))
	b.key("ssm.inner_size", uint32(deltaValues*deltaHead))
	b.key("ssm.state_size", uint32(deltaHead))
	b.key("ssm.time_step_rank", uint32(deltaValues))
	b.key("ssm.group_count", uint32(deltaKeys))
	b.key("full_attention_interval", uint32(4))
}

func (b *build) deltaNet(p string) {
	b.add(p+"ssm_conv1d.weight", 4, (2*deltaKeys+deltaValues)*deltaHead)
	b.add(p+"ssm_dt.bias", deltaValues)
	b.decay(p+"ssm_a", deltaValues)
	b.add(p+"ssm_norm.weight", deltaHead)
	b.add(p+"ssm_out.weight", deltaValues*deltaHead, width)
}

func qwen3next(b *build) {
	b.hasHeads(uint32(kvHeads))
	b.hasExperts()
	b.hasDeltaNet()
	b.key("expert_shared_feed_forward_length", uint32(expertFF))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(4, func(i int, p string) {
		b.norm(p+"attn_norm", p+"post_attention_norm")
		if i == 3 {
			b.attention(p, 2*heads*head, false) // queries and their gates
			b.headNorms(p)
		} else {
			b.deltaNet(p)
			b.add(p+"ssm_in.weight", width, 2*(deltaKeys+deltaValues)*deltaHead)
			b.add(p+"ssm_ba.weight", width, 2*deltaValues)
		}
		b.expertFeedForward(p)
		b.add(p+"ffn_gate_inp_shexp.weight", width)
		b.add(p+"ffn_gate_shexp.weight", width, expertFF)
		b.add(p+"ffn_up_shexp.weight", width, expertFF)
		b.add(p+"ffn_down_shexp.weight", expertFF, width)
	})
	b.norm("output_norm")
}

func qwen35(b *build) {
	b.hasHeads(uint32(kvHeads))
	b.hasDeltaNet()
	b.key("rope.dimension_sections", []int32{4, 2, 2, 0})
	b.key("feed_forward_length", uint32(ff))
	b.blocks(4, func(i int, p string) {
		b.norm(p+"attn_norm", p+"post_attention_norm")
		if i == 3 {
			b.attention(p, 2*heads*head, false)
			b.headNorms(p)
		} else {
			b.deltaNet(p)
			b.add(p+"attn_qkv.weight", width, (2*deltaKeys+deltaValues)*deltaHead)
			b.add(p+"attn_gate.weight", width, deltaValues*deltaHead)
			b.add(p+"ssm_alpha.weight", width, deltaValues)
			b.add(p+"ssm_beta.weight", width, deltaValues)
		}
		b.feedForward(p)
	})
	b.norm("output_norm")
}

// gemma3 sees all tokens in every sixth layer.
func gemma3(b *build) {
	b.hasHeads(uint32(kvHeads))
	b.key("attention.sliding_window", uint32(WindowSize))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(7, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"post_attention_norm", p+"ffn_norm", p+"post_ffw_norm")
		b.attention(p, heads*head, false)
		b.headNorms(p)
		b.feedForward(p)
	})
	b.norm("output_norm")
}

// gemma4 sees all tokens in its third layer, and its last one reads the keys and values of the second.
func gemma4(b *build) {
	const perLayer, layers = 8, 4
	b.hasHeads(uint32(kvHeads))
	b.key("attention.key_length_swa", uint32(head))
	b.key("attention.value_length_swa", uint32(head))
	b.key("attention.sliding_window", uint32(WindowSize))
	b.key("attention.sliding_window_pattern", []bool{true, true, false, true})
	b.key("attention.shared_kv_layers", uint32(1))
	b.key("embedding_length_per_layer_input", uint32(perLayer))
	b.key("rope.freq_base_swa", float32(10000))
	b.key("rope.dimension_count_swa", uint32(head))
	b.key("final_logit_softcapping", float32(30))
	b.key("feed_forward_length", uint32(ff))
	vocabulary := b.tensors[0].Shape[1]
	b.add("per_layer_token_embd.weight", perLayer*layers, vocabulary)
	b.add("per_layer_model_proj.weight", width, perLayer*layers)
	b.add("per_layer_proj_norm.weight", perLayer)
	b.add("rope_freqs.weight", head/2)
	for i := range b.tensors[len(b.tensors)-1].Data {
		b.tensors[len(b.tensors)-1].Data[i] = 1
	}
	b.blocks(layers, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"post_attention_norm", p+"ffn_norm", p+"post_ffw_norm", p+"post_norm")
		b.attention(p, heads*head, false)
		b.headNorms(p)
		b.feedForward(p)
		b.add(p+"inp_gate.weight", width, perLayer)
		b.add(p+"proj.weight", perLayer, width)
		b.add(p+"layer_output_scale.weight", 1)[0] = 0.9
	})
	b.norm("output_norm")
}

func phi3(b *build) {
	b.hasHeads(uint32(heads))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(3, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"ffn_norm")
		b.add(p+"attn_qkv.weight", width, 3*heads*head)
		b.add(p+"attn_output.weight", heads*head, width)
		b.add(p+"ffn_up.weight", width, 2*ff)
		b.add(p+"ffn_down.weight", ff, width)
	})
	b.norm("output_norm")
}

// gptOSS sees all tokens in every second layer.
func gptOSS(b *build) {
	b.hasHeads(uint32(kvHeads))
	b.hasExperts()
	b.key("attention.sliding_window", uint32(WindowSize))
	b.key("feed_forward_length", uint32(expertFF))
	b.blocks(4, func(_ int, p string) {
		b.norm(p+"attn_norm", p+"post_attention_norm")
		b.attention(p, heads*head, true)
		b.add(p+"attn_output.bias", width)
		b.add(p+"attn_sinks.weight", heads)
		b.expertFeedForward(p)
		b.add(p+"ffn_gate_inp.bias", experts)
		b.add(p+"ffn_gate_exps.bias", expertFF, experts)
		b.add(p+"ffn_up_exps.bias", expertFF, experts)
		b.add(p+"ffn_down_exps.bias", width, experts)
	})
	b.norm("output_norm")
}

func lfm2(b *build) {
	b.hasHeads([]int32{0, kvHeads, 0, kvHeads})
	b.key("shortconv.l_cache", uint32(3))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(4, func(i int, p string) {
		b.norm(p+"attn_norm", p+"ffn_norm")
		if i%2 == 1 {
			b.attention(p, heads*head, false)
			b.headNorms(p)
		} else {
			b.add(p+"shortconv.conv.weight", 3, width)
			b.add(p+"shortconv.in_proj.weight", width, 3*width)
			b.add(p+"shortconv.out_proj.weight", width, width)
		}
		b.feedForward(p)
	})
	b.norm("token_embd_norm") // as the norm before the output is called here
}

// Of the state space models Mamba and Granite.
const inner, stateSize, groups = 2 * width, 16, 1

func graniteHybrid(b *build) {
	const ssmHeads, mixed = 4, inner + 2*groups*stateSize
	b.hasHeads([]int32{0, 0, kvHeads, 0})
	b.key("ssm.conv_kernel", uint32(4))
	b.key("ssm.inner_size", uint32(inner))
	b.key("ssm.state_size", uint32(stateSize))
	b.key("ssm.time_step_rank", uint32(ssmHeads))
	b.key("ssm.group_count", uint32(groups))
	b.key("embedding_scale", float32(2))
	b.key("residual_scale", float32(0.5))
	b.key("logit_scale", float32(0.5))
	b.key("attention.scale", float32(0.25))
	b.key("feed_forward_length", uint32(ff))
	b.blocks(4, func(i int, p string) {
		b.norm(p+"attn_norm", p+"ffn_norm")
		if i == 2 {
			b.attention(p, heads*head, false)
		} else {
			b.add(p+"ssm_in.weight", width, inner+mixed+ssmHeads)
			b.add(p+"ssm_conv1d.weight", 4, mixed)
			b.add(p+"ssm_conv1d.bias", mixed)
			b.add(p+"ssm_dt.bias", ssmHeads)
			b.decay(p+"ssm_a", 1, ssmHeads)
			b.add(p+"ssm_d", 1, ssmHeads)
			b.add(p+"ssm_norm.weight", inner/groups, groups)
			b.add(p+"ssm_out.weight", inner, width)
		}
		b.feedForward(p)
	})
	b.norm("output_norm")
}

func mamba(b *build) {
	const rank = 2
	b.key("ssm.conv_kernel", uint32(4))
	b.key("ssm.inner_size", uint32(inner))
	b.key("ssm.state_size", uint32(stateSize))
	b.key("ssm.time_step_rank", uint32(rank))
	b.key("attention.head_count", uint32(0))
	b.key("feed_forward_length", uint32(0))
	b.blocks(3, func(_ int, p string) {
		b.norm(p + "attn_norm")
		b.add(p+"ssm_in.weight", width, 2*inner)
		b.add(p+"ssm_conv1d.weight", 4, inner)
		b.add(p+"ssm_conv1d.bias", inner)
		b.add(p+"ssm_x.weight", inner, rank+2*stateSize)
		b.add(p+"ssm_dt.weight", rank, inner)
		b.add(p+"ssm_dt.bias", inner)
		b.decay(p+"ssm_a", stateSize, inner)
		b.add(p+"ssm_d", inner)
		b.add(p+"ssm_out.weight", inner, width)
	})
	b.norm("output_norm")
}

// rwkvHead is the width of RWKV-7's heads: ggml takes no other as published models have none (it computes 64 numbers at a time).
const rwkvHead = 64

func rwkv7(b *build) {
	const rank, width = 8, rwkvHead // of each of the small products; one head
	b.key("attention.layer_norm_epsilon", float32(1e-5))
	b.key("wkv.head_size", uint32(rwkvHead))
	b.key("token_shift_count", uint32(2))
	b.key("attention.head_count", uint32(0))
	b.key("feed_forward_length", uint32(ff))
	for _, name := range []string{"decay", "iclr", "value_residual_mix", "gate"} {
		b.key("attention."+name+"_lora_rank", uint32(rank))
	}
	layerNorm := func(name string) {
		b.add(name+".weight", width)
		b.add(name+".bias", width)
	}
	layerNorm("token_embd_norm")
	b.blocks(3, func(_ int, p string) {
		layerNorm(p + "attn_norm")
		layerNorm(p + "attn_norm_2")
		for _, name := range []string{"w", "a", "v"} {
			b.add(p+"time_mix_"+name+"0.weight", width)
			b.add(p+"time_mix_"+name+"1.weight", width, rank)
			b.add(p+"time_mix_"+name+"2.weight", rank, width)
		}
		b.add(p+"time_mix_g1.weight", width, rank)
		b.add(p+"time_mix_g2.weight", rank, width)
		b.add(p+"time_mix_lerp_fused.weight", width, 1, 1, 6)
		for _, name := range []string{"k_k", "k_a", "r_k"} {
			b.add(p+"time_mix_"+name+".weight", width)
		}
		for _, name := range []string{"key", "value", "receptance", "output"} {
			b.add(p+"time_mix_"+name+".weight", width, width)
		}
		layerNorm(p + "time_mix_ln")
		b.add(p+"channel_mix_lerp_k.weight", width, 1, 1)
		b.add(p+"channel_mix_key.weight", width, ff)
		b.add(p+"channel_mix_value.weight", ff, width)
	})
	layerNorm("output_norm")
}
