// The C side of package llama: everything that crosses from Go to llama.cpp goes
// through these functions. No C++ exception leaves them, and what llama.cpp would
// assert on has been checked in Go before they are called.
#ifndef IVO_SHIM_H
#define IVO_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llama_model ivo_model;
typedef struct llama_adapter_lora ivo_lora;
typedef struct llama_sampler ivo_grammar;

typedef struct {
    int32_t n_gpu_layers;
    int32_t split_mode;
    int32_t main_gpu;
    const float * tensor_split; // of as many values as there are devices, NULL for the default
    const int32_t * devices;    // indices of ivo_device_get, NULL for all
    int32_t n_devices;
    bool vocab_only, use_mmap, use_mlock, check_tensors;
    const char * pre; // in the place of tokenizer.ggml.pre, NULL for the file's own
    uintptr_t progress; // handle of a Go callback, 0 for none
} ivo_model_params;

typedef struct {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq;
    int32_t n_threads;
    int32_t flash_attn; // -1 auto, 0 off, 1 on
    int32_t type_k, type_v;
    bool kv_unified, embeddings, offload_kqv, op_offload, swa_full;
    int32_t rope_scaling; // -1 the model's own
    float rope_freq_base, rope_freq_scale; // 0 the model's own
    float yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow; // negative the model's own
    uint32_t yarn_orig_ctx; // 0 the model's own
    int32_t n_layers;
    const int32_t * layers; // tapped layers; n_layer of the model means the final norm
    bool layers_only;       // nothing above the highest tapped layer is computed
    int32_t top_n;          // candidates kept per output row, sorted
    int32_t n_positions;    // that the model has learned; 0 for any number
} ivo_context_params;

// ivo_context owns a llama_context, its thread pool and the arrays through which a
// decoding step passes in and out, so that one call a step crosses the border.
typedef struct {
    void * impl;
    int32_t n_ctx, n_batch, top_n;

    // in, by token of the batch
    int32_t * token;
    int32_t * pos;
    int32_t * seq;
    int8_t * output;
    int32_t * keep; // from 1 on, numbers the tokens without output whose states are wanted; 0 for others
    float * inv_temp; // 1/T for lse_t

    // out, by output row of the last decode
    int32_t n_outputs;
    float * logits;      // [n_outputs][n_vocab], owned by llama.cpp
    float * hidden;      // [n_outputs][n_embd] after the final norm, NULL without embeddings
    float * states;      // [n_outputs][n_layers][n_embd] of the tapped layers
    int32_t n_kept;
    float * kept;        // [n_kept][n_layers][n_embd] of the kept tokens, in the order of the batch
    float * lse;         // log sum exp(l)
    float * entropy;     // of softmax(l), nats
    float * lse_t;       // log sum exp(l * inv_temp)
    int32_t * top_id;    // [n_outputs][top_n], by falling logit
    float * top_logit;   // [n_outputs][top_n]
    int32_t part;           // most tokens that are computed one after the other in ivo_decode, 0 for any number
    volatile int32_t abort; // set to stop a decode that is under way
} ivo_context;

void ivo_init(void);
// The build of llama.cpp that make LLAMA= has made and linked, "" for any other.
const char * ivo_release(void);
// The file that llama.cpp was loaded from, as far as the system says.
const char * ivo_library(void);
// The i-th architecture that llama.cpp knows, NULL if there is none; none at all where it does
// not tell.
const char * ivo_architecture(int32_t i);
bool ivo_supports_gpu_offload(void);

// Registers the devices of an RPC server, HOST:PORT.
enum ivo_rpc { IVO_RPC_TAKEN, IVO_RPC_NOT_BUILT, IVO_RPC_REFUSED };
int32_t ivo_rpc_add(const char * endpoint);
// Serves the devices of these numbers to one program after the other, and does not return unless it cannot.
int32_t ivo_rpc_serve(const char * endpoint, int32_t n_threads, const int32_t * devices, int32_t n_devices);

ivo_model * ivo_model_load(const char * path, const ivo_model_params * p);
void ivo_model_free(ivo_model * m);
typedef struct {
    int32_t ftype, n_threads;
    bool allow_requantize, quantize_output, pure;
    uintptr_t progress; // handle of a Go callback, 0 for none
} ivo_quantize_params;
uint32_t ivo_quantize(const char * in, const char * out, const ivo_quantize_params * p);

typedef struct {
    int32_t n_vocab, n_ctx_train, n_embd, n_layer, n_head, n_head_kv;
    int32_t n_swa;
    int32_t bos, eos, eot, nl, pad, sep, mask, fim_pre, fim_suf, fim_mid;
    int32_t vocab_type;
    uint64_t n_params, size;
    bool add_bos, has_encoder, has_decoder, recurrent;
    const char * chat_template; // owned by the model, may be NULL
} ivo_model_info;
// weights is false for a model of which only the vocabulary was loaded: it has no shape.
void ivo_model_describe(const ivo_model * m, bool weights, ivo_model_info * info, char * desc, size_t desc_size);

// The functions below return INT32_MIN when llama.cpp threw.
// stack, if not 0, is the size of the stack that tokenizing needs: it gets a thread of its own.
int32_t ivo_tokenize(const ivo_model * m, const char * text, int32_t len, int32_t * tokens, int32_t max, bool special, bool parse, size_t stack);
int32_t ivo_piece(const ivo_model * m, int32_t token, char * buf, int32_t len, bool special);
int32_t ivo_detokenize(const ivo_model * m, const int32_t * tokens, int32_t n, char * buf, int32_t len, bool special);
bool ivo_is_eog(const ivo_model * m, int32_t token);
typedef struct {
    const char * text; // owned by the model
    float score;
    int32_t attr;
} ivo_token;
void ivo_token_get(const ivo_model * m, int32_t token, ivo_token * t);
int32_t ivo_chat(const char * tmpl, const char ** roles, const char ** contents, size_t n, bool assistant, char * buf, int32_t len);

// A classifier owns a context that pools by RANK: it has no rows, and its texts are read from their beginnings.
typedef struct ivo_classifier ivo_classifier;
int32_t ivo_classes(const ivo_model * m);
const char * ivo_class_label(const ivo_model * m, int32_t i); // owned by the model; NULL without one
ivo_classifier * ivo_classifier_new(ivo_model * m, int32_t n_tokens, int32_t n_seq, int32_t n_threads);
void ivo_classifier_free(ivo_classifier * c);
// n_seq texts one behind the other, len tokens each; out is [n_seq][ivo_classes]. llama_decode's status,
// or INT32_MIN when llama.cpp threw.
int32_t ivo_classify(ivo_classifier * c, int32_t * tokens, const int32_t * len, int32_t n_seq, float * out);

ivo_context * ivo_context_new(ivo_model * m, const ivo_context_params * p);
void ivo_context_free(ivo_context * c);
// How many threads of the context's pool compute, at most as many as it was made with.
void ivo_set_threads(ivo_context * c, int32_t n);

// llama_decode's status (0 ok, 1 no room in the KV cache, 2 aborted, < 0 error), or
// IVO_NOT_FINITE when a row of logits holds NaN or infinity, or IVO_NO_STATES when the
// architecture does not give a tapped layer's states row by row. In those two cases the
// tokens are in the cache.
#define IVO_NOT_FINITE (-100)
#define IVO_NO_STATES (-101)
int32_t ivo_decode(ivo_context * c, int32_t n_tokens);
void ivo_clear(ivo_context * c);
bool ivo_seq_rm(ivo_context * c, int32_t seq, int32_t p0, int32_t p1);
void ivo_seq_cp(ivo_context * c, int32_t src, int32_t dst, int32_t p0, int32_t p1);
int32_t ivo_seq_pos_min(ivo_context * c, int32_t seq);
int32_t ivo_seq_pos_max(ivo_context * c, int32_t seq);
// Sizes in bytes, 0 when it failed.
size_t ivo_seq_state_size(ivo_context * c, int32_t seq);
size_t ivo_seq_state_get(ivo_context * c, int32_t seq, uint8_t * data, size_t size);
size_t ivo_seq_state_set(ivo_context * c, int32_t seq, const uint8_t * data, size_t size);

typedef struct {
    double prompt_ms, decode_ms;
    int32_t n_prompt, n_decode, n_reused;
} ivo_perf;
void ivo_perf_get(ivo_context * c, ivo_perf * p);
void ivo_perf_reset(ivo_context * c);

ivo_lora * ivo_lora_load(ivo_model * m, const char * path);
void ivo_lora_free(ivo_lora * l); // before its model
// These two decode and drop a token; 1 says that the cache has no cell for it.
int32_t ivo_set_loras(ivo_context * c, ivo_lora ** adapters, float * scales, size_t n);
// data[len] holds width values a layer, from layer 1 on; NULL for none.
int32_t ivo_set_cvec(ivo_context * c, const float * data, size_t len, int32_t width, int32_t from, int32_t to);

// NULL when the grammar does not parse; GBNF and root have been checked in Go.
ivo_grammar * ivo_grammar_new(const ivo_model * m, const char * gbnf, const char * root);
ivo_grammar * ivo_grammar_clone(const ivo_grammar * g);
void ivo_grammar_free(ivo_grammar * g);
// allowed[n] says which of the tokens may come next. False when llama.cpp threw.
bool ivo_grammar_mask(ivo_grammar * g, const int32_t * tokens, int32_t n, bool * allowed);
// The token must be allowed. False when llama.cpp threw.
bool ivo_grammar_accept(ivo_grammar * g, int32_t token);

// Turns n values, whole blocks, of a ggml_type into floats. False when ggml cannot.
bool ivo_dequantize(int32_t type, const void * from, float * to, int64_t n);

size_t ivo_device_count(void);
typedef struct {
    const char * name;
    const char * description;
    size_t free, total;
    int32_t type; // enum ggml_backend_dev_type
} ivo_device;
void ivo_device_get(size_t i, ivo_device * d);
// Feature i of the CPU backend as compiled in; false past the last one.
bool ivo_cpu_feature(size_t i, const char ** name, const char ** value);

// ivo_bench_loop decodes n_steps batches that each extend n_seq sequences by a token,
// tokens[n_steps][n_seq], from position pos0 on: the bare C loop that Go's speed is
// held against. Not for contexts with tapped layers. ivo_bench_sampling begins with
// tokens[n_seq] and draws the next ones by llama.cpp's sampler chain after every step.
int32_t ivo_bench_loop(ivo_context * c, const int32_t * tokens, int32_t n_seq, int32_t pos0, int32_t n_steps);
int32_t ivo_bench_sampling(ivo_context * c, int32_t * tokens, int32_t n_seq, int32_t pos0, int32_t n_steps, float temp, uint32_t seed);

#ifdef __cplusplus
}
#endif

#endif
