// The bare loops that Go's speed is held against.
#include "shim_context.h"

namespace {

// bare_step decodes a batch that extends n sequences by a token each.
int32_t bare_step(ivo_context * c, const int32_t * tokens, int32_t n, int32_t pos) {
    for (int32_t i = 0; i < n; i++) {
        c->token[i] = tokens[i];
        c->pos[i] = pos;
        c->seq[i] = i;
        c->output[i] = 1;
        c->keep[i] = 0;
    }
    const int32_t status = decode_batch(c, n, n);
    if (status == 0) {
        llama_get_logits(of(c)->ctx); // waits for the result, as every user does
    }
    return status;
}

// no_rows ends the rows that there were.
void no_rows(ivo_context * c) { c->n_outputs = c->n_kept = of(c)->n_kept = 0; }

} // namespace

int32_t ivo_bench_loop(ivo_context * c, const int32_t * tokens, int32_t n_seq, int32_t pos0, int32_t n_steps) {
    no_rows(c);
    return guarded<>(INT32_MIN, [&] {
        int32_t status = 0;
        for (int32_t step = 0; step < n_steps && status == 0; step++) {
            status = bare_step(c, tokens + size_t(step) * n_seq, n_seq, pos0 + step);
        }
        return status;
    });
}

int32_t ivo_bench_sampling(ivo_context * c, int32_t * tokens, int32_t n_seq, int32_t pos0, int32_t n_steps, float temp, uint32_t seed) {
    no_rows(c);
    return guarded<>(INT32_MIN, [&] {
        llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
        llama_sampler_chain_add(chain, llama_sampler_init_temp(temp));
        llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
        int32_t status = 0;
        for (int32_t step = 0; step < n_steps && status == 0; step++) {
            if ((status = bare_step(c, tokens, n_seq, pos0 + step)) == 0) {
                for (int32_t i = 0; i < n_seq; i++) {
                    tokens[i] = llama_sampler_sample(chain, of(c)->ctx, i);
                }
            }
        }
        llama_sampler_free(chain);
        return status;
    });
}
