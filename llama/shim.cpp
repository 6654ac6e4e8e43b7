#include "shim.h"

#include "abi.h"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <vector>

#include "rowstats.h"

// Go callbacks (callback.go).
extern "C" void ivoLog(int32_t level, char * text);
extern "C" bool ivoProgress(uintptr_t handle, float progress);

namespace {

void log_line(enum ggml_log_level level, const char * text, void *) {
    ivoLog(level, const_cast<char *>(text));
}

void log_text(const char * what) {
    ivoLog(GGML_LOG_LEVEL_ERROR, const_cast<char *>(what));
}

// guarded runs f and turns an exception into a logged error and the value fallback.
template <class F, class T> T guarded(T fallback, F f) {
    try {
        return f();
    } catch (const std::exception & e) {
        log_text(e.what());
    } catch (...) {
        log_text("unknown C++ exception");
    }
    return fallback;
}

const llama_vocab * vocab_of(const ivo_model * m) { return llama_model_get_vocab(m); }

// impl is what ivo_context hides from Go.
struct impl {
    llama_context * ctx = nullptr;
    ggml_threadpool * pool = nullptr;
    int32_t n_embd = 0, n_layer = 0, n_vocab = 0;
    std::vector<int32_t> layers; // layer -> slot in a row of states, -1 when not tapped
    int32_t n_taps = 0;
    int32_t final_slot = -1;
    std::vector<int32_t> n_seq_id;
    std::vector<int32_t *> seq_ptr;
    std::vector<float> states, lse, entropy, lse_t, top_logit;
    std::vector<int32_t> top_id;
    top_scratch top;
    int32_t n_tokens = 0, n_outputs = 0, n_ubatch = 0; // of the decode under way
    std::vector<int32_t> seen_tokens, seen_outputs;    // by layer, in this decode; -1: the rows make no sense
    std::vector<float> rows;                        // scratch of one tapped tensor
};

// tapped_layer returns N for a tensor called "l_out-N" that is tapped, else -1.
int32_t tapped_layer(const impl * s, const ggml_tensor * t) {
    if (strncmp(t->name, "l_out-", 6) != 0) {
        return -1;
    }
    const int32_t layer = atoi(t->name + 6);
    return layer >= 0 && layer < s->n_layer && s->layers[layer] >= 0 ? layer : -1;
}

// tap copies the output rows of a tapped layer out of the graph. A decode may run
// as several micro-batches, in order: the rows append. Inner layers hold a row a
// token; most architectures drop the rows without output in the last layer.
bool tap(ggml_tensor * t, bool ask, void * user_data) {
    auto * c = static_cast<ivo_context *>(user_data);
    auto * s = static_cast<impl *>(c->impl);
    const int32_t layer = tapped_layer(s, t);
    if (ask) {
        return layer >= 0;
    }
    if (layer < 0) {
        return true;
    }
    const size_t width = s->n_embd;
    const int32_t n_rows = t->ne[1];
    int32_t & token = s->seen_tokens[layer];
    int32_t & row = s->seen_outputs[layer];
    if (size_t(t->ne[0]) != width || t->type != GGML_TYPE_F32 || row < 0) {
        row = -1; // not a state as we know it: ivo_decode reports it
        return true;
    }
    s->rows.resize(n_rows * width);
    ggml_backend_tensor_get(t, s->rows.data(), 0, n_rows * width * sizeof(float));
    // The micro-batch's tokens: as many as are left, at most n_ubatch. Where there are
    // fewer rows, those without output are gone.
    const int32_t n_tokens = std::min(s->n_tokens - token, s->n_ubatch);
    const bool all = n_rows == n_tokens;
    int32_t r = 0;
    for (int32_t i = 0; i < n_tokens; i++, token++) {
        if (!c->output[token]) {
            r += all;
            continue;
        }
        if (r >= n_rows || row >= s->n_outputs) {
            row = -1;
            return true;
        }
        memcpy(s->states.data() + (size_t(row) * s->n_taps + s->layers[layer]) * width, s->rows.data() + size_t(r) * width, width * sizeof(float));
        row++;
        r++;
    }
    if (r != n_rows) {
        row = -1;
    }
    return true;
}

// batch_of is the first n tokens of the context's arrays.
llama_batch batch_of(ivo_context * c, int32_t n) {
    auto * s = static_cast<impl *>(c->impl);
    llama_batch batch = {};
    batch.n_tokens = n;
    batch.token = c->token;
    batch.pos = c->pos;
    batch.n_seq_id = s->n_seq_id.data();
    batch.seq_id = s->seq_ptr.data();
    batch.logits = c->output;
    return batch;
}

bool aborted(void * data) { return static_cast<ivo_context *>(data)->abort != 0; }

bool progress(float p, void * handle) { return ivoProgress(reinterpret_cast<uintptr_t>(handle), p); }

} // namespace

void ivo_init(void) {
    setenv("GGML_NO_BACKTRACE", "1", 0); // an abort would start gdb
    llama_log_set(log_line, nullptr);
    ggml_log_set(log_line, nullptr);
    guarded(0, [] {
        llama_backend_init();
        return 0;
    });
}

ivo_model * ivo_model_load(const char * path, const ivo_model_params * p) {
    return guarded<>(static_cast<ivo_model *>(nullptr), [&] {
        llama_model_params mp = llama_model_default_params();
        mp.n_gpu_layers = p->n_gpu_layers;
        mp.vocab_only = p->vocab_only;
        mp.use_mmap = p->use_mmap;
        mp.use_mlock = p->use_mlock;
        mp.check_tensors = p->check_tensors;
        if (p->progress) {
            mp.progress_callback = progress;
            mp.progress_callback_user_data = reinterpret_cast<void *>(p->progress);
        }
        return llama_model_load_from_file(path, mp);
    });
}

void ivo_model_free(ivo_model * m) { llama_model_free(m); }

uint32_t ivo_quantize(const char * in, const char * out, int32_t ftype, int32_t n_threads) {
    return guarded<>(uint32_t(1), [&] {
        llama_model_quantize_params qp = llama_model_quantize_default_params();
        qp.ftype = static_cast<enum llama_ftype>(ftype);
        qp.nthread = n_threads;
        return llama_model_quantize(in, out, &qp);
    });
}

void ivo_model_describe(const ivo_model * m, bool weights, ivo_model_info * info, char * desc, size_t desc_size) {
    const llama_vocab * v = vocab_of(m);
    info->n_vocab = llama_vocab_n_tokens(v);
    info->bos = llama_vocab_bos(v);
    info->eos = llama_vocab_eos(v);
    info->eot = llama_vocab_eot(v);
    info->add_bos = llama_vocab_get_add_bos(v);
    info->chat_template = llama_model_chat_template(m, nullptr);
    if (!weights) {
        return;
    }
    info->n_ctx_train = llama_model_n_ctx_train(m);
    info->n_embd = llama_model_n_embd(m);
    info->n_layer = llama_model_n_layer(m);
    info->n_head = llama_model_n_head(m);
    info->n_head_kv = llama_model_n_head_kv(m);
    info->n_params = llama_model_n_params(m);
    info->size = llama_model_size(m);
    info->has_encoder = llama_model_has_encoder(m);
    info->has_decoder = llama_model_has_decoder(m);
    info->recurrent = llama_model_is_recurrent(m) || llama_model_is_hybrid(m);
    llama_model_desc(m, desc, desc_size);
}

int32_t ivo_tokenize(const ivo_model * m, const char * text, int32_t len, int32_t * tokens, int32_t max, bool special, bool parse) {
    return guarded<>(INT32_MIN, [&] { return llama_tokenize(vocab_of(m), text, len, tokens, max, special, parse); });
}

int32_t ivo_piece(const ivo_model * m, int32_t token, char * buf, int32_t len, bool special) {
    return guarded<>(INT32_MIN, [&] { return llama_token_to_piece(vocab_of(m), token, buf, len, 0, special); });
}

int32_t ivo_detokenize(const ivo_model * m, const int32_t * tokens, int32_t n, char * buf, int32_t len, bool special) {
    return guarded<>(INT32_MIN, [&] { return llama_detokenize(vocab_of(m), tokens, n, buf, len, false, special); });
}

bool ivo_is_eog(const ivo_model * m, int32_t token) { return llama_vocab_is_eog(vocab_of(m), token); }

int32_t ivo_chat(const char * tmpl, const char ** roles, const char ** contents, size_t n, bool assistant, char * buf, int32_t len) {
    return guarded<>(INT32_MIN, [&] {
        std::vector<llama_chat_message> messages(n);
        for (size_t i = 0; i < n; i++) {
            messages[i] = {roles[i], contents[i]};
        }
        return llama_chat_apply_template(tmpl, messages.data(), n, assistant, buf, len);
    });
}

ivo_context * ivo_context_new(ivo_model * m, const ivo_context_params * p) {
    auto * c = new (std::nothrow) ivo_context();
    if (!c) {
        return nullptr;
    }
    const bool ok = guarded<>(false, [&] {
        auto * s = new impl();
        c->impl = s;
        s->n_embd = llama_model_n_embd(m);
        s->n_layer = llama_model_n_layer(m);
        s->n_vocab = llama_vocab_n_tokens(vocab_of(m));
        s->layers.assign(s->n_layer, -1);
        s->seen_tokens.assign(s->n_layer, 0);
        s->seen_outputs.assign(s->n_layer, 0);
        s->n_taps = p->n_layers;
        bool inner = false;
        for (int32_t i = 0; i < p->n_layers; i++) {
            if (p->layers[i] == s->n_layer) {
                s->final_slot = i;
            } else {
                s->layers[p->layers[i]] = i;
                inner = true;
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
        cp.embeddings = p->embeddings || s->final_slot >= 0;
        cp.no_perf = true;
        cp.abort_callback = aborted;
        cp.abort_callback_data = c;
        if (inner) {
            cp.cb_eval = tap;
            cp.cb_eval_user_data = c;
        }
        s->ctx = llama_init_from_model(m, cp);
        if (!s->ctx) {
            return false;
        }
        if (!llama_get_memory(s->ctx)) {
            log_text("the architecture has no memory of a sequence: it does not generate text token by token");
            return false;
        }
        // Without a pool of its own every graph starts its threads anew.
        ggml_threadpool_params tp;
        ggml_threadpool_params_init(&tp, p->n_threads);
        tp.poll = 0; // waiting threads sleep: spinning ones starve the neighbours
        s->pool = ggml_threadpool_new(&tp);
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
        c->inv_temp = new float[n];
        s->n_seq_id.assign(n, 1);
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
    auto * s = static_cast<impl *>(c->impl);
    if (s) {
        if (s->ctx) {
            llama_free(s->ctx);
        }
        if (s->pool) {
            ggml_threadpool_free(s->pool);
        }
        delete s;
    }
    delete[] c->token;
    delete[] c->pos;
    delete[] c->seq;
    delete[] c->output;
    delete[] c->inv_temp;
    delete c;
}

int32_t ivo_decode(ivo_context * c, int32_t n_tokens) {
    auto * s = static_cast<impl *>(c->impl);
    return guarded<>(INT32_MIN, [&] {
        int32_t n_outputs = 0;
        for (int32_t i = 0; i < n_tokens; i++) {
            if (c->output[i]) {
                c->inv_temp[n_outputs] = c->inv_temp[i]; // by output row from here on
                n_outputs++;
            }
        }
        c->n_outputs = 0;
        s->states.resize(size_t(n_outputs) * s->n_taps * s->n_embd);
        s->lse.resize(n_outputs);
        s->entropy.resize(n_outputs);
        s->lse_t.resize(n_outputs);
        s->top_id.resize(size_t(n_outputs) * c->top_n);
        s->top_logit.resize(size_t(n_outputs) * c->top_n);
        s->n_tokens = n_tokens;
        s->n_outputs = n_outputs;
        std::fill(s->seen_tokens.begin(), s->seen_tokens.end(), 0);
        std::fill(s->seen_outputs.begin(), s->seen_outputs.end(), 0);

        const int32_t status = llama_decode(s->ctx, batch_of(c, n_tokens));
        if (status != 0 || n_outputs == 0) {
            return status;
        }

        for (int32_t l = 0; l < s->n_layer; l++) {
            if (s->layers[l] >= 0 && s->seen_outputs[l] != n_outputs) {
                return int32_t(IVO_NO_STATES);
            }
        }
        c->logits = llama_get_logits(s->ctx);
        c->hidden = llama_get_embeddings(s->ctx);
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

namespace {
llama_memory_t memory_of(ivo_context * c) { return llama_get_memory(static_cast<impl *>(c->impl)->ctx); }
} // namespace

void ivo_clear(ivo_context * c) {
    guarded(0, [&] { llama_memory_clear(memory_of(c), true); return 0; });
}

bool ivo_seq_rm(ivo_context * c, int32_t seq, int32_t p0, int32_t p1) {
    return guarded(false, [&] { return llama_memory_seq_rm(memory_of(c), seq, p0, p1); });
}

void ivo_seq_cp(ivo_context * c, int32_t src, int32_t dst, int32_t p0, int32_t p1) {
    guarded(0, [&] { llama_memory_seq_cp(memory_of(c), src, dst, p0, p1); return 0; });
}

int32_t ivo_seq_pos_max(ivo_context * c, int32_t seq) {
    return guarded<>(INT32_MIN, [&] { return llama_memory_seq_pos_max(memory_of(c), seq); });
}

size_t ivo_device_count(void) { return ggml_backend_dev_count(); }

void ivo_device_get(size_t i, ivo_device * d) {
    ggml_backend_dev_t dev = ggml_backend_dev_get(i);
    d->name = ggml_backend_dev_name(dev);
    d->description = ggml_backend_dev_description(dev);
    ggml_backend_dev_memory(dev, &d->free, &d->total);
}

bool ivo_cpu_feature(size_t i, const char ** name, const char ** value) {
    for (size_t d = 0; d < ggml_backend_dev_count(); d++) {
        ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_dev_get(d));
        auto get = reinterpret_cast<ggml_backend_get_features_t>(ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features"));
        if (!get || strncmp(ggml_backend_dev_name(ggml_backend_dev_get(d)), "CPU", 3) != 0) {
            continue;
        }
        for (ggml_backend_feature * f = get(reg); f && f->name; f++, i--) {
            if (i == 0) {
                *name = f->name;
                *value = f->value;
                return true;
            }
        }
        return false;
    }
    return false;
}

int32_t ivo_bench_loop(ivo_context * c, const int32_t * tokens, int32_t n_seq, int32_t pos0, int32_t n_steps) {
    auto * s = static_cast<impl *>(c->impl);
    c->n_outputs = 0; // what rows there were are gone
    return guarded<>(INT32_MIN, [&] {
        const llama_batch batch = batch_of(c, n_seq);
        for (int32_t step = 0; step < n_steps; step++) {
            for (int32_t i = 0; i < n_seq; i++) {
                c->token[i] = *tokens++;
                c->pos[i] = pos0 + step;
                c->seq[i] = i;
                c->output[i] = 1;
            }
            if (const int32_t status = llama_decode(s->ctx, batch)) {
                return status;
            }
            llama_get_logits(s->ctx); // waits for the result, as every user does
        }
        return 0;
    });
}
