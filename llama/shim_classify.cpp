// Classifiers: models that llama.cpp gives a head of classes on the state of one token.
#include "shim_context.h"
#include "shim_late.h"

#include <cstring>
#include <new>
#include <vector>

struct ivo_classifier {
    llama_context * ctx = nullptr;
    ggml_threadpool_t pool = nullptr;
    int32_t n_out = 0;
    std::vector<int32_t> pos, n_seq_id, seq;
    std::vector<int32_t *> seq_ptr;
    std::vector<int8_t> all;
};

int32_t ivo_classes(const ivo_model * m) { return int32_t(llama_model_n_cls_out(m)); }

const char * ivo_class_label(const ivo_model * m, int32_t i) { return llama_model_cls_label(m, uint32_t(i)); }

ivo_classifier * ivo_classifier_new(ivo_model * m, int32_t n_tokens, int32_t n_seq, int32_t n_threads) {
    const without_sigpipe quiet;
    auto * c = new (std::nothrow) ivo_classifier();
    if (!c) {
        return nullptr;
    }
    const bool ok = guarded<>(false, [&] {
        c->n_out = ivo_classes(m);
        llama_context_params cp = llama_context_default_params();
        // What is pooled has to be computed at once.
        cp.n_ctx = cp.n_batch = cp.n_ubatch = n_tokens;
        cp.n_seq_max = n_seq;
        cp.n_threads = cp.n_threads_batch = n_threads;
        cp.pooling_type = LLAMA_POOLING_TYPE_RANK;
        cp.embeddings = true;
        cp.kv_unified = true;
        {
            const late_backends late; // if it fails
            c->ctx = llama_init_from_model(m, cp);
        }
        c->pool = c->ctx ? new_pool(n_threads) : nullptr;
        if (!c->pool) {
            return false;
        }
        llama_attach_threadpool(c->ctx, c->pool, c->pool);
        c->n_seq_id.assign(n_tokens, 1);
        c->all.assign(n_tokens, 1);
        c->pos.resize(n_tokens);
        c->seq.resize(n_tokens);
        for (int32_t i = 0; i < n_tokens; i++) {
            c->seq_ptr.push_back(&c->seq[i]);
        }
        return true;
    });
    if (!ok) {
        ivo_classifier_free(c);
        return nullptr;
    }
    return c;
}

void ivo_classifier_free(ivo_classifier * c) {
    if (c->ctx) {
        const late_backends late;
        llama_free(c->ctx);
    }
    if (c->pool) {
        free_pool(c->pool);
    }
    delete c;
}

int32_t ivo_classify(ivo_classifier * c, int32_t * tokens, const int32_t * len, int32_t n_seq, float * out) {
    return guarded<>(INT32_MIN, [&] {
        if (llama_memory_t memory = llama_get_memory(c->ctx)) {
            llama_memory_clear(memory, false);
        }
        llama_batch batch = {};
        batch.token = tokens;
        batch.pos = c->pos.data();
        batch.n_seq_id = c->n_seq_id.data();
        batch.seq_id = c->seq_ptr.data();
        batch.logits = c->all.data();
        for (int32_t s = 0; s < n_seq; s++) {
            for (int32_t i = 0; i < len[s]; i++, batch.n_tokens++) {
                c->pos[batch.n_tokens] = i;
                c->seq[batch.n_tokens] = s;
            }
        }
        int32_t status = 0;
        {
            const guard workers(guarding::all_but_kernels);
            status = llama_decode(c->ctx, batch);
        }
        for (int32_t s = 0; s < n_seq && status == 0; s++) {
            const float * of = llama_get_embeddings_seq(c->ctx, s);
            if (!of) {
                log_text("llama.cpp gives no classes of a text");
                return int32_t(-1);
            }
            memcpy(out + size_t(s) * c->n_out, of, c->n_out * sizeof(float));
        }
        return status;
    });
}
