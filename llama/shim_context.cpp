// Contexts: decoding, and the states of tapped layers.
#include "shim_context.h"
#include "shim_late.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace {

// tapped_layer returns N for a tensor that is layer N's output, the number of layers for the state after the final
// norm, and -1 for one that is not tapped.
int32_t tapped_layer(const context_impl * s, const ggml_tensor * t) {
    if (strcmp(t->name, "result_norm") == 0) {
        return s->final ? s->n_layer : -1;
    }
    const char * number = nullptr;
    if (strncmp(t->name, "l_out-", 6) == 0) {
        number = t->name + 6;
#ifndef IVO_SYSTEM
    } else if (strncmp(t->name, "post_moe-", 9) == 0) { // as the embedded qwen3next calls it
        number = t->name + 9;
#endif
    } else {
        return -1;
    }
    char * end = nullptr;
    const long layer = strtol(number, &end, 10);
    if (*end != '\0') { // a view, "l_out-0 (reshaped)"
        return -1;
    }
    return layer >= 0 && layer < s->n_layer && s->layers[layer] >= 0 ? int32_t(layer) : -1;
}

// begin_part notes which tokens a graph computes, when it comes to look up their embeddings.
void begin_part(context_impl * s, const ggml_tensor * t) {
    const ggml_tensor * ids = t->src[1];
    if (!t->src[0] || strcmp(t->src[0]->name, "token_embd.weight") != 0 || !ids || ids->type != GGML_TYPE_I32 || strstr(ids->name, "mixed")) {
        return;
    }
    s->part.resize(ids->ne[0]);
    if (ids->buffer && !ggml_backend_buffer_is_host(ids->buffer)) {
        ggml_backend_tensor_get(ids, s->part.data(), 0, s->part.size() * sizeof(int32_t));
    } else {
        memcpy(s->part.data(), ids->data, s->part.size() * sizeof(int32_t));
    }
    s->split.next(s->part.data(), int32_t(s->part.size()), s->way);
}

// tap copies the output rows of a tapped layer out of the graph, and those of kept tokens. A decode may run
// as several micro-batches. Inner layers hold a row a token; most architectures drop the rows without output
// in the last layer.
bool tap(ggml_tensor * t, bool ask, void * user_data) {
    auto * c = static_cast<ivo_context *>(user_data);
    auto * s = of(c);
    const int32_t layer = tapped_layer(s, t);
    if (ask) {
        begin_part(s, t);
        return layer >= 0 && (s->n_outputs + s->n_kept > 0 || layer == s->last_layer);
    }
    if (layer < 0) {
        return true;
    }
    const size_t width = s->n_embd;
    const size_t n_rows = t->ne[1];
    const std::vector<int32_t> & tokens = s->split.rows;
    int32_t & seen = s->seen_outputs[layer];
    if (size_t(t->ne[0]) != width || t->type != GGML_TYPE_F32 || seen < 0 || (tokens.empty() && n_rows > 0)) {
        seen = -1; // not a state as we know it: ivo_decode reports it
        return true;
    }
    const float * rows = static_cast<const float *>(t->data);
    size_t stride = t->nb[1] / sizeof(float);
    if (!t->buffer || !ggml_backend_buffer_is_host(t->buffer)) {
        s->rows.resize(n_rows * width);
        ggml_backend_tensor_get(t, s->rows.data(), 0, n_rows * width * sizeof(float));
        rows = s->rows.data();
        stride = width;
    }
    const bool all = n_rows == tokens.size();
    const size_t slot = layer < s->n_layer ? s->layers[layer] * width : 0, size = s->n_taps * width;
    size_t r = 0;
    for (const int32_t of_part : tokens) {
        const int32_t token = s->first + of_part;
        float * to = nullptr;
        if (c->output[token]) {
            to = layer < s->n_layer ? s->states.data() + s->output_row[token] * size + slot : s->hidden.data() + s->output_row[token] * width;
            seen++;
        } else if (c->keep[token] && all && layer < s->n_layer) {
            to = s->kept.data() + (c->keep[token] - 1) * size + slot;
            s->seen_kept[layer]++;
        }
        if (to && r >= n_rows) {
            seen = -1;
            return true;
        }
        if (to) {
            memcpy(to, rows + r * stride, width * sizeof(float));
        }
        r += to || all;
    }
    if (r != n_rows) {
        seen = -1;
    }
    return layer != s->last_layer; // false ends the graph
}

bool aborted(void * data) { return static_cast<ivo_context *>(data)->abort != 0; }

} // namespace

namespace {

void begin_batch(context_impl * s, int32_t n_outputs) {
    s->n_outputs = n_outputs;
    std::fill(s->seen_outputs.begin(), s->seen_outputs.end(), 0);
}

// decode_part runs llama_decode over tokens of the batch.
int32_t decode_part(ivo_context * c, int32_t first, int32_t n_tokens) {
    auto * s = of(c);
    s->first = first;
    s->split.start(c->token + first, c->seq + first, n_tokens, s->n_ubatch);
    llama_batch batch = {};
    batch.n_tokens = n_tokens;
    batch.token = c->token + first;
    batch.pos = c->pos + first;
    batch.n_seq_id = s->n_seq_id.data();
    batch.seq_id = s->seq_ptr.data() + first;
    batch.logits = c->output + first;
    const guard workers(guarding::all_but_kernels);
    s->copies = false;
    return llama_decode(s->ctx, batch);
}

// decode_parts decodes the batch by as many llama_decode as c->part asks for, and sets c->logits.
int32_t decode_parts(ivo_context * c, int32_t n_tokens, int32_t n_outputs) {
    auto * s = of(c);
    begin_batch(s, n_outputs);
    const int32_t most = c->part > 0 ? c->part : n_tokens;
    if (n_tokens <= most) {
        const int32_t status = decode_part(c, 0, n_tokens);
        c->logits = status == 0 && n_outputs > 0 ? llama_get_logits(s->ctx) : nullptr;
        return status;
    }
    s->logits.resize(size_t(n_outputs) * s->n_vocab);
    c->logits = s->logits.data();
    float * to = c->logits;
    for (int32_t first = 0; first < n_tokens; first += most) {
        const int32_t n = std::min(most, n_tokens - first);
        const int32_t status = decode_part(c, first, n);
        if (status == 1) { // no room: as if nothing had been decoded
            for (int32_t i = 0; i < first; i++) {
                llama_memory_seq_rm(memory_of(c), c->seq[i], c->pos[i], c->pos[i] + 1);
            }
        }
        if (status != 0) {
            return status;
        }
        const size_t rows = std::count(c->output + first, c->output + first + n, 1);
        if (rows > 0) {
            memcpy(to, llama_get_logits(s->ctx), rows * s->n_vocab * sizeof(float));
            to += rows * s->n_vocab;
        }
    }
    return 0;
}

} // namespace

int32_t decode_batch(ivo_context * c, int32_t n_tokens, int32_t n_outputs) {
    begin_batch(of(c), n_outputs);
    return decode_part(c, 0, n_tokens);
}

ggml_threadpool_t new_pool(int32_t n_threads) {
    auto * pool_new = cpu_proc<ggml_threadpool_t (*)(ggml_threadpool_params *)>("ggml_threadpool_new");
    if (!pool_new) {
        log_text("the CPU backend offers no thread pool");
        return nullptr;
    }
    ggml_threadpool_params tp;
    ggml_threadpool_params_init(&tp, n_threads);
    tp.poll = 0; // waiting threads sleep: spinning ones starve the neighbours
    return pool_new(&tp);
}

void free_pool(ggml_threadpool_t pool) { cpu_proc<void (*)(ggml_threadpool_t)>("ggml_threadpool_free")(pool); }

ivo_context * ivo_context_new(ivo_model * m, const ivo_context_params * p) {
    const without_sigpipe quiet;
    auto * c = new (std::nothrow) ivo_context();
    if (!c) {
        return nullptr;
    }
    const bool ok = guarded<>(false, [&] {
        auto * s = new context_impl();
        c->impl = s;
        s->n_embd = llama_model_n_embd(m);
        s->n_layer = llama_model_n_layer(m);
        s->n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
        s->layers.assign(s->n_layer, -1);
        s->seen_outputs.assign(s->n_layer + 1, 0);
        s->seen_kept.assign(s->n_layer + 1, 0);
        s->n_seq = p->n_seq;
        s->n_positions = p->n_positions;
        s->streams = !p->kv_unified;
        s->recurrent = llama_model_is_recurrent(m) || llama_model_is_hybrid(m);
        if (s->recurrent) {
#ifdef IVO_SYSTEM
            s->way = llama_model_is_hybrid(m) ? batch_split::of_all : batch_split::of_neighbours;
#else
            s->way = batch_split::of_neighbours;
#endif
        }
        s->n_taps = p->n_layers;
        s->final = p->embeddings;
        bool inner = false;
        for (int32_t i = 0; i < p->n_layers; i++) {
            if (p->layers[i] == s->n_layer) {
                s->final_slot = i;
                s->final = true;
            } else {
                s->layers[p->layers[i]] = i;
                inner = true;
                if (p->layers_only) {
                    s->last_layer = std::max(s->last_layer, p->layers[i]);
                }
            }
        }

        llama_context_params cp = llama_context_default_params();
        cp.n_ctx = p->n_ctx;
        cp.n_batch = p->n_batch;
        cp.n_ubatch = p->n_ubatch;
        cp.n_seq_max = p->n_seq;
        cp.n_threads = cp.n_threads_batch = p->n_threads;
        cp.pooling_type = LLAMA_POOLING_TYPE_NONE;
        cp.flash_attn_type = static_cast<enum llama_flash_attn_type>(p->flash_attn);
        cp.type_k = static_cast<enum ggml_type>(p->type_k);
        cp.type_v = static_cast<enum ggml_type>(p->type_v);
        cp.kv_unified = p->kv_unified;
        cp.offload_kqv = p->offload_kqv;
        cp.op_offload = p->op_offload;
        cp.swa_full = p->swa_full;
        cp.rope_scaling_type = static_cast<enum llama_rope_scaling_type>(p->rope_scaling);
        cp.rope_freq_base = p->rope_freq_base;
        cp.rope_freq_scale = p->rope_freq_scale;
        if (p->yarn_ext_factor >= 0) {
            cp.yarn_ext_factor = p->yarn_ext_factor;
        }
        if (p->yarn_attn_factor >= 0) {
            cp.yarn_attn_factor = p->yarn_attn_factor;
        }
        if (p->yarn_beta_fast >= 0) {
            cp.yarn_beta_fast = p->yarn_beta_fast;
        }
        if (p->yarn_beta_slow >= 0) {
            cp.yarn_beta_slow = p->yarn_beta_slow;
        }
        cp.yarn_orig_ctx = p->yarn_orig_ctx;
        cp.no_perf = false;
        cp.abort_callback = aborted;
        cp.abort_callback_data = c;
        // The final state comes the same way as others. llama.cpp's own (embeddings = true) costs upstream the logits
        // of every token of a prompt, leaves lfm2 without any, and recurrent models without batches.
        if (inner || s->final) {
            cp.cb_eval = tap;
            cp.cb_eval_user_data = c;
        }
        {
            const late_backends late; // if it fails
            s->ctx = llama_init_from_model(m, cp);
        }
        if (!s->ctx) {
            return false;
        }
        if (!llama_get_memory(s->ctx)) {
            log_text("the architecture has no memory of a sequence: it does not generate text token by token");
            return false;
        }
        // Without a pool of its own every graph starts its threads anew.
        s->pool = new_pool(p->n_threads);
        if (!s->pool) {
            return false;
        }
        llama_attach_threadpool(s->ctx, s->pool, s->pool);

        c->n_ctx = llama_n_ctx(s->ctx);
        c->n_batch = llama_n_batch(s->ctx);
        s->n_ubatch = llama_n_ubatch(s->ctx);
        c->top_n = std::min(p->top_n, s->n_vocab);
        const size_t n = c->n_batch;
        c->token = new int32_t[n];
        c->pos = new int32_t[n];
        c->seq = new int32_t[n];
        c->output = new int8_t[n];
        c->keep = new int32_t[n]();
        c->inv_temp = new float[n];
        s->n_seq_id.assign(n, 1);
        s->output_row.resize(n);
        s->seq_ptr.resize(n);
        for (size_t i = 0; i < n; i++) {
            s->seq_ptr[i] = c->seq + i;
        }
        return true;
    });
    if (!ok) {
        ivo_context_free(c);
        return nullptr;
    }
    return c;
}

void ivo_context_free(ivo_context * c) {
    auto * s = of(c);
    if (s) {
        if (s->ctx) {
            const late_backends late;
            llama_free(s->ctx);
        }
        if (s->pool) {
            free_pool(s->pool);
        }
        delete s;
    }
    delete[] c->token;
    delete[] c->pos;
    delete[] c->seq;
    delete[] c->output;
    delete[] c->keep;
    delete[] c->inv_temp;
    delete c;
}

void ivo_set_threads(ivo_context * c, int32_t n) { llama_set_n_threads(of(c)->ctx, n, n); }

int32_t ivo_decode(ivo_context * c, int32_t n_tokens) {
    auto * s = of(c);
    return guarded<>(INT32_MIN, [&] {
        int32_t n_outputs = 0;
        for (int32_t i = 0; i < n_tokens; i++) {
            if (c->output[i]) {
                c->inv_temp[n_outputs] = c->inv_temp[i]; // by output row from here on
                s->output_row[i] = n_outputs;
                n_outputs++;
            }
        }
        c->n_outputs = c->n_kept = 0;
        s->n_kept = *std::max_element(c->keep, c->keep + n_tokens);
        s->kept.resize(size_t(s->n_kept) * s->n_taps * s->n_embd);
        std::fill(s->seen_kept.begin(), s->seen_kept.end(), 0);
        s->states.resize(size_t(n_outputs) * s->n_taps * s->n_embd);
        s->hidden.resize(s->final ? size_t(n_outputs) * s->n_embd : 0);
        s->lse.resize(n_outputs);
        s->entropy.resize(n_outputs);
        s->lse_t.resize(n_outputs);
        s->top_id.resize(size_t(n_outputs) * c->top_n);
        s->top_logit.resize(size_t(n_outputs) * c->top_n);

        const int32_t status = decode_parts(c, n_tokens, n_outputs);
        if (status != 0 || n_outputs + s->n_kept == 0) {
            return status;
        }
        for (int32_t l = 0; l < s->n_layer; l++) {
            if (s->layers[l] >= 0 && (s->seen_outputs[l] != n_outputs || s->seen_kept[l] != s->n_kept)) {
                return int32_t(IVO_NO_STATES);
            }
        }
        if (s->final && s->seen_outputs[s->n_layer] != n_outputs) {
            return int32_t(IVO_NO_STATES);
        }
        c->kept = s->kept.data();
        c->n_kept = s->n_kept;
        if (n_outputs == 0) {
            return 0;
        }
        c->hidden = s->final ? s->hidden.data() : nullptr;
        if (s->final_slot >= 0) {
            for (int32_t r = 0; r < n_outputs; r++) {
                memcpy(s->states.data() + (size_t(r) * s->n_taps + s->final_slot) * s->n_embd, c->hidden + size_t(r) * s->n_embd,
                       s->n_embd * sizeof(float));
            }
        }
        for (int32_t r = 0; r < n_outputs; r++) {
            const float * l = c->logits + size_t(r) * s->n_vocab;
            row_stats(l, s->n_vocab, c->inv_temp[r], &s->lse[r], &s->entropy[r], &s->lse_t[r]);
            if (!std::isfinite(s->lse[r])) {
                return int32_t(IVO_NOT_FINITE); // and row_top would not have an order to sort by
            }
            row_top(l, s->n_vocab, c->top_n, s->top_id.data() + size_t(r) * c->top_n, s->top_logit.data() + size_t(r) * c->top_n, s->top);
        }
        c->states = s->states.data();
        c->lse = s->lse.data();
        c->entropy = s->entropy.data();
        c->lse_t = s->lse_t.data();
        c->top_id = s->top_id.data();
        c->top_logit = s->top_logit.data();
        c->n_outputs = n_outputs; // last: rows exist only when all of them are complete
        return int32_t(0);
    });
}
