// What the C++ files about contexts share; Go does not see it.
#ifndef IVO_SHIM_CONTEXT_H
#define IVO_SHIM_CONTEXT_H

#include "shim_impl.h"

#include <vector>

#include "rowstats.h"
#include "split.h"

// context_impl is what ivo_context hides from Go.
struct context_impl {
    llama_context * ctx = nullptr;
    ggml_threadpool_t pool = nullptr;
    int32_t n_embd = 0, n_layer = 0, n_vocab = 0;
    int32_t n_seq = 0, n_positions = 0;
    bool streams = false, recurrent = false;
    bool copies = false;         // a fork of streams that llama.cpp carries out with the next decode
    std::vector<int32_t> layers; // layer -> slot in a row of states, -1 when not tapped
    int32_t n_taps = 0;
    bool final = false;          // the state after the final norm is tapped
    int32_t final_slot = -1;     // where it goes in a row of states, -1 where it does not
    int32_t last_layer = -1;     // above which nothing is computed; -1 of whole graphs
    std::vector<int32_t> n_seq_id;
    std::vector<int32_t *> seq_ptr;
    std::vector<float> states, hidden, kept, lse, entropy, lse_t, top_logit;
    std::vector<int32_t> top_id;
    top_scratch top;
    std::vector<float> logits; // of batches that are decoded in parts
    int32_t n_ubatch = 0;
    // of the batch under way
    int32_t n_outputs = 0, n_kept = 0;
    int32_t first = 0; // token of the llama_decode under way
    std::vector<int32_t> output_row;              // by token, of those with output
    std::vector<int32_t> part;                    // the ids of the tokens that are computed together
    batch_split split;
    batch_split::way way = batch_split::in_order; // the one that this llama.cpp goes, as far as we know
    std::vector<int32_t> seen_outputs, seen_kept; // by layer, the final norm last; seen_outputs -1: the rows make no sense
    std::vector<float> rows;                        // a tapped tensor fetched from a device
};

// new_pool makes the threads of a context, nullptr where the CPU backend offers none.
ggml_threadpool_t new_pool(int32_t n_threads);
void free_pool(ggml_threadpool_t pool);

inline context_impl * of(ivo_context * c) { return static_cast<context_impl *>(c->impl); }

inline llama_memory_t memory_of(ivo_context * c) { return llama_get_memory(of(c)->ctx); }

// decode_batch decodes the first n_tokens of the context's arrays, of which n_outputs have output, by one
// llama_decode.
int32_t decode_batch(ivo_context * c, int32_t n_tokens, int32_t n_outputs);

#endif
