// Sequences, their saved states, counters, and what is applied to a context.
#include "shim_context.h"

#include "compat.h"

namespace {

// forget_graph makes the next decode build its graph anew. llama.cpp takes over the graph
// of the decode before when the shapes agree, and the embedded one does so even when
// adapters have come or gone since. A decode without causal attention leaves a graph that
// no other takes over; its token is dropped. 1, with nothing changed, where there is no
// sequence that can take the token and drop it again.
int32_t forget_graph(ivo_context * c) {
    auto * s = of(c);
    const llama_memory_t memory = memory_of(c);
    int32_t seq = 0;
    while (seq < s->n_seq - 1 && llama_memory_seq_pos_max(memory, seq) >= 0) {
        seq++;
    }
    const int32_t pos = llama_memory_seq_pos_max(memory, seq) + 1;
    if (pos > 0 && (s->recurrent || (s->n_positions > 0 && pos >= s->n_positions))) {
        return 1;
    }
    c->token[0] = 0;
    c->seq[0] = seq;
    c->pos[0] = pos;
    c->output[0] = 0;
    c->keep[0] = s->n_kept = 0;
    llama_set_causal_attn(s->ctx, false);
    const int32_t status = decode_batch(c, 1, 0);
    llama_set_causal_attn(s->ctx, true);
    llama_memory_seq_rm(memory, seq, pos, -1);
    return status;
}

// finish_copies carries out the forks that wait for the next decode: states are saved and
// restored past them. The rows end, the batch stays.
bool finish_copies(ivo_context * c) {
    if (!of(c)->copies) {
        return true;
    }
    c->n_outputs = c->n_kept = 0;
    const int32_t token = c->token[0], pos = c->pos[0], seq = c->seq[0], keep = c->keep[0];
    const int8_t output = c->output[0];
    const int32_t status = forget_graph(c);
    c->token[0] = token, c->pos[0] = pos, c->seq[0] = seq, c->keep[0] = keep, c->output[0] = output;
    // Copies come first in a decode, so that one without room (1) has made them.
    if (of(c)->copies || (status != 0 && status != 1)) {
        log_text("a fork is under way: decode a token first");
        return false;
    }
    return true;
}

} // namespace

void ivo_clear(ivo_context * c) {
    guarded(0, [&] { llama_memory_clear(memory_of(c), true); return 0; });
}

bool ivo_seq_rm(ivo_context * c, int32_t seq, int32_t p0, int32_t p1) {
    return guarded(false, [&] { return llama_memory_seq_rm(memory_of(c), seq, p0, p1); });
}

void ivo_seq_cp(ivo_context * c, int32_t src, int32_t dst, int32_t p0, int32_t p1) {
    guarded(0, [&] {
        of(c)->copies = of(c)->copies || of(c)->streams;
        llama_memory_seq_cp(memory_of(c), src, dst, p0, p1);
        return 0;
    });
}

int32_t ivo_seq_pos_min(ivo_context * c, int32_t seq) {
    return guarded<>(INT32_MIN, [&] { return llama_memory_seq_pos_min(memory_of(c), seq); });
}

int32_t ivo_seq_pos_max(ivo_context * c, int32_t seq) {
    return guarded<>(INT32_MIN, [&] { return llama_memory_seq_pos_max(memory_of(c), seq); });
}

size_t ivo_seq_state_size(ivo_context * c, int32_t seq) {
    return guarded(size_t(0), [&] { return llama_state_seq_get_size(of(c)->ctx, seq); });
}

size_t ivo_seq_state_get(ivo_context * c, int32_t seq, uint8_t * data, size_t size) {
    return guarded(size_t(0), [&] { return finish_copies(c) ? llama_state_seq_get_data(of(c)->ctx, data, size, seq) : 0; });
}

size_t ivo_seq_state_set(ivo_context * c, int32_t seq, const uint8_t * data, size_t size) {
    return guarded(size_t(0), [&] { return finish_copies(c) ? llama_state_seq_set_data(of(c)->ctx, data, size, seq) : 0; });
}

void ivo_perf_get(ivo_context * c, ivo_perf * p) {
    const llama_perf_context_data d = llama_perf_context(of(c)->ctx);
    *p = {d.t_p_eval_ms, d.t_eval_ms, d.n_p_eval, d.n_eval, d.n_reused};
}

void ivo_perf_reset(ivo_context * c) { llama_perf_context_reset(of(c)->ctx); }

int32_t ivo_set_loras(ivo_context * c, ivo_lora ** adapters, float * scales, size_t n) {
    return guarded<>(INT32_MIN, [&] {
        const int32_t status = forget_graph(c);
        return status ? status : set_loras(of(c)->ctx, adapters, scales, n, 0);
    });
}

int32_t ivo_set_cvec(ivo_context * c, const float * data, size_t len, int32_t width, int32_t from, int32_t to) {
    return guarded<>(INT32_MIN, [&] {
        const int32_t status = forget_graph(c);
        return status ? status : set_cvec(of(c)->ctx, data, len, width, from, to, 0);
    });
}
