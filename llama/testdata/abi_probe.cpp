// Prints every size, offset and constant that llama/abi.h declares, from whichever
// headers it is compiled against. TestABI compares the two outputs.
#ifdef IVO_ABI_OURS
#include "abi.h"
#else
#include "llama.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#endif

#include <cstddef>
#include <cstdio>
#include <type_traits>

#define SIZE(t) printf("sizeof %s %zu\n", #t, sizeof(t))
// A field that one of the headers lacks is said to be absent. What one of them does not name at all
// is compiled as ivo_absent.
#define FIELD(t, f) \
    []<class T>(const T *) { \
        if constexpr (requires(T x) { x.f; }) { \
            printf("%s.%s at %zu size %zu\n", #t, #f, offsetof(T, f), sizeof(T::f)); \
        } else { \
            printf("%s.%s absent\n", #t, #f); \
        } \
    }(static_cast<const t *>(nullptr))
#define VALUE(v) value(#v, v)
struct absent {};
void ivo_absent(absent);
void value(const char * name, long long v) { printf("%s = %lld\n", name, v); }
void value(const char * name, void (*)(absent)) { printf("%s absent\n", name); }

// The type of a function, as the compiler names it, with struct and enum names that
// both headers share.
template <class T> const char * type_name() { return __PRETTY_FUNCTION__; }
#define FUNCTION(f) printf("%s: %s\n", #f, type_name<decltype(&f)>())

int main() {
    VALUE(GGML_TYPE_F32); VALUE(GGML_TYPE_F16); VALUE(GGML_TYPE_Q8_0); VALUE(GGML_TYPE_I32); VALUE(GGML_TYPE_BF16); VALUE(GGML_TYPE_COUNT);
    VALUE(GGML_OP_NONE);
    VALUE(GGML_LOG_LEVEL_NONE); VALUE(GGML_LOG_LEVEL_DEBUG); VALUE(GGML_LOG_LEVEL_INFO);
    VALUE(GGML_LOG_LEVEL_WARN); VALUE(GGML_LOG_LEVEL_ERROR); VALUE(GGML_LOG_LEVEL_CONT);
    VALUE(GGML_SCHED_PRIO_LOW); VALUE(GGML_SCHED_PRIO_NORMAL);
    VALUE(GGML_MAX_DIMS); VALUE(GGML_MAX_SRC); VALUE(GGML_MAX_N_THREADS); VALUE(GGML_MAX_OP_PARAMS); VALUE(GGML_MAX_NAME);
    VALUE(LLAMA_SPLIT_MODE_NONE); VALUE(LLAMA_SPLIT_MODE_LAYER); VALUE(LLAMA_SPLIT_MODE_ROW);
    VALUE(LLAMA_FTYPE_ALL_F32); VALUE(LLAMA_FTYPE_MOSTLY_F16); VALUE(LLAMA_FTYPE_GUESSED);
    VALUE(LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED); VALUE(LLAMA_ROPE_SCALING_TYPE_NONE); VALUE(LLAMA_ROPE_SCALING_TYPE_LINEAR);
    VALUE(LLAMA_ROPE_SCALING_TYPE_YARN); VALUE(LLAMA_ROPE_SCALING_TYPE_LONGROPE);
    VALUE(GGML_BACKEND_DEVICE_TYPE_CPU); VALUE(GGML_BACKEND_DEVICE_TYPE_GPU); VALUE(GGML_BACKEND_DEVICE_TYPE_IGPU); VALUE(GGML_BACKEND_DEVICE_TYPE_ACCEL);
    VALUE(LLAMA_VOCAB_TYPE_NONE); VALUE(LLAMA_VOCAB_TYPE_SPM); VALUE(LLAMA_VOCAB_TYPE_BPE); VALUE(LLAMA_VOCAB_TYPE_WPM);
    VALUE(LLAMA_VOCAB_TYPE_UGM); VALUE(LLAMA_VOCAB_TYPE_RWKV); VALUE(LLAMA_VOCAB_TYPE_PLAMO2);
    VALUE(LLAMA_TOKEN_ATTR_UNDEFINED); VALUE(LLAMA_TOKEN_ATTR_UNKNOWN); VALUE(LLAMA_TOKEN_ATTR_UNUSED); VALUE(LLAMA_TOKEN_ATTR_NORMAL);
    VALUE(LLAMA_TOKEN_ATTR_CONTROL); VALUE(LLAMA_TOKEN_ATTR_USER_DEFINED); VALUE(LLAMA_TOKEN_ATTR_BYTE); VALUE(LLAMA_TOKEN_ATTR_NORMALIZED);
    VALUE(LLAMA_TOKEN_ATTR_LSTRIP); VALUE(LLAMA_TOKEN_ATTR_RSTRIP); VALUE(LLAMA_TOKEN_ATTR_SINGLE_WORD);
    VALUE(LLAMA_POOLING_TYPE_UNSPECIFIED); VALUE(LLAMA_POOLING_TYPE_NONE); VALUE(LLAMA_POOLING_TYPE_RANK);
    VALUE(LLAMA_ATTENTION_TYPE_UNSPECIFIED);
    VALUE(LLAMA_FLASH_ATTN_TYPE_AUTO); VALUE(LLAMA_FLASH_ATTN_TYPE_DISABLED); VALUE(LLAMA_FLASH_ATTN_TYPE_ENABLED);

    SIZE(ggml_type); SIZE(ggml_op); SIZE(llama_ftype); SIZE(llama_pos); SIZE(llama_token); SIZE(llama_seq_id);

    SIZE(ggml_tensor);
    FIELD(ggml_tensor, type); FIELD(ggml_tensor, buffer); FIELD(ggml_tensor, ne); FIELD(ggml_tensor, nb); FIELD(ggml_tensor, op);
    FIELD(ggml_tensor, op_params); FIELD(ggml_tensor, flags); FIELD(ggml_tensor, src); FIELD(ggml_tensor, view_src);
    FIELD(ggml_tensor, view_offs); FIELD(ggml_tensor, data); FIELD(ggml_tensor, name); FIELD(ggml_tensor, extra); FIELD(ggml_tensor, padding);

    SIZE(ggml_threadpool_params);
    FIELD(ggml_threadpool_params, cpumask); FIELD(ggml_threadpool_params, n_threads); FIELD(ggml_threadpool_params, prio);
    FIELD(ggml_threadpool_params, poll); FIELD(ggml_threadpool_params, strict_cpu); FIELD(ggml_threadpool_params, paused);

    SIZE(ggml_backend_feature);
    FIELD(ggml_backend_feature, name); FIELD(ggml_backend_feature, value);

    SIZE(ggml_type_traits);
    FIELD(ggml_type_traits, type_name); FIELD(ggml_type_traits, blck_size); FIELD(ggml_type_traits, blck_size_interleave);
    FIELD(ggml_type_traits, type_size); FIELD(ggml_type_traits, is_quantized); FIELD(ggml_type_traits, to_float); FIELD(ggml_type_traits, from_float_ref);

    SIZE(llama_batch);
    FIELD(llama_batch, n_tokens); FIELD(llama_batch, token); FIELD(llama_batch, embd); FIELD(llama_batch, pos);
    FIELD(llama_batch, n_seq_id); FIELD(llama_batch, seq_id); FIELD(llama_batch, logits);

    VALUE(LLAMA_KV_OVERRIDE_TYPE_STR);
    SIZE(llama_model_kv_override); FIELD(llama_model_kv_override, tag); FIELD(llama_model_kv_override, key); FIELD(llama_model_kv_override, val_str);
    SIZE(llama_model_params);
    FIELD(llama_model_params, devices); FIELD(llama_model_params, tensor_buft_overrides); FIELD(llama_model_params, n_gpu_layers);
    FIELD(llama_model_params, split_mode); FIELD(llama_model_params, main_gpu); FIELD(llama_model_params, tensor_split);
    FIELD(llama_model_params, progress_callback); FIELD(llama_model_params, progress_callback_user_data);
    FIELD(llama_model_params, kv_overrides); FIELD(llama_model_params, vocab_only); FIELD(llama_model_params, use_mmap);
    FIELD(llama_model_params, use_mlock); FIELD(llama_model_params, check_tensors); FIELD(llama_model_params, use_extra_bufts);
    FIELD(llama_model_params, no_host); FIELD(llama_model_params, no_alloc);

    SIZE(llama_context_params);
    FIELD(llama_context_params, n_ctx); FIELD(llama_context_params, n_batch); FIELD(llama_context_params, n_ubatch);
    FIELD(llama_context_params, n_seq_max); FIELD(llama_context_params, n_threads); FIELD(llama_context_params, n_threads_batch);
    FIELD(llama_context_params, rope_scaling_type); FIELD(llama_context_params, pooling_type);
    FIELD(llama_context_params, attention_type); FIELD(llama_context_params, flash_attn_type);
    FIELD(llama_context_params, rope_freq_base); FIELD(llama_context_params, rope_freq_scale);
    FIELD(llama_context_params, yarn_ext_factor); FIELD(llama_context_params, yarn_attn_factor);
    FIELD(llama_context_params, yarn_beta_fast); FIELD(llama_context_params, yarn_beta_slow); FIELD(llama_context_params, yarn_orig_ctx);
    FIELD(llama_context_params, defrag_thold); FIELD(llama_context_params, cb_eval); FIELD(llama_context_params, cb_eval_user_data);
    FIELD(llama_context_params, type_k); FIELD(llama_context_params, type_v); FIELD(llama_context_params, abort_callback);
    FIELD(llama_context_params, abort_callback_data); FIELD(llama_context_params, embeddings); FIELD(llama_context_params, offload_kqv);
    FIELD(llama_context_params, no_perf); FIELD(llama_context_params, op_offload); FIELD(llama_context_params, swa_full);
    FIELD(llama_context_params, kv_unified);

    SIZE(llama_model_quantize_params);
    FIELD(llama_model_quantize_params, nthread); FIELD(llama_model_quantize_params, ftype);
    FIELD(llama_model_quantize_params, output_tensor_type); FIELD(llama_model_quantize_params, token_embedding_type);
    FIELD(llama_model_quantize_params, allow_requantize); FIELD(llama_model_quantize_params, quantize_output_tensor);
    FIELD(llama_model_quantize_params, only_copy); FIELD(llama_model_quantize_params, pure);
    FIELD(llama_model_quantize_params, keep_split); FIELD(llama_model_quantize_params, imatrix);
    FIELD(llama_model_quantize_params, kv_overrides); FIELD(llama_model_quantize_params, tensor_types);
    FIELD(llama_model_quantize_params, prune_layers);

    SIZE(llama_chat_message);
    FIELD(llama_chat_message, role); FIELD(llama_chat_message, content);

    SIZE(llama_token_data);
    FIELD(llama_token_data, id); FIELD(llama_token_data, logit); FIELD(llama_token_data, p);
    SIZE(llama_token_data_array);
    FIELD(llama_token_data_array, data); FIELD(llama_token_data_array, size); FIELD(llama_token_data_array, selected); FIELD(llama_token_data_array, sorted);
    SIZE(llama_sampler_chain_params); FIELD(llama_sampler_chain_params, no_perf);
    SIZE(llama_perf_context_data);
    FIELD(llama_perf_context_data, t_start_ms); FIELD(llama_perf_context_data, t_load_ms); FIELD(llama_perf_context_data, t_p_eval_ms);
    FIELD(llama_perf_context_data, t_eval_ms); FIELD(llama_perf_context_data, n_p_eval); FIELD(llama_perf_context_data, n_eval);
    FIELD(llama_perf_context_data, n_reused);

    FUNCTION(ggml_get_type_traits); FUNCTION(ggml_backend_buffer_is_host); FUNCTION(ggml_backend_dev_by_type); FUNCTION(ggml_backend_dev_type);
    FUNCTION(llama_supports_gpu_offload); FUNCTION(llama_max_devices); FUNCTION(llama_model_n_swa);
    FUNCTION(llama_vocab_nl); FUNCTION(llama_vocab_pad); FUNCTION(llama_vocab_sep); FUNCTION(llama_vocab_mask); FUNCTION(llama_vocab_fim_pre);
    FUNCTION(llama_vocab_fim_suf); FUNCTION(llama_vocab_fim_mid); FUNCTION(llama_vocab_type); FUNCTION(llama_vocab_get_text);
    FUNCTION(llama_vocab_get_score); FUNCTION(llama_vocab_get_attr);
    FUNCTION(llama_sampler_init_grammar); FUNCTION(llama_sampler_apply); FUNCTION(llama_sampler_accept); FUNCTION(llama_sampler_clone);
    FUNCTION(llama_sampler_chain_default_params); FUNCTION(llama_sampler_chain_init); FUNCTION(llama_sampler_chain_add);
    FUNCTION(llama_sampler_init_temp); FUNCTION(llama_sampler_init_dist); FUNCTION(llama_sampler_sample);
    FUNCTION(llama_sampler_free); FUNCTION(llama_adapter_lora_init); FUNCTION(llama_set_adapter_lora); FUNCTION(llama_clear_adapter_lora);
    FUNCTION(llama_apply_adapter_cvec); FUNCTION(llama_set_causal_attn); FUNCTION(llama_perf_context);
    FUNCTION(llama_perf_context_reset); FUNCTION(llama_state_seq_get_size); FUNCTION(llama_state_seq_get_data); FUNCTION(llama_state_seq_set_data);
    FUNCTION(ggml_log_set); FUNCTION(ggml_set_abort_callback); FUNCTION(ggml_threadpool_params_init);
    FUNCTION(ggml_backend_tensor_get); FUNCTION(ggml_backend_dev_count); FUNCTION(ggml_backend_dev_get);
    FUNCTION(ggml_backend_dev_name); FUNCTION(ggml_backend_dev_description); FUNCTION(ggml_backend_dev_memory);
    FUNCTION(ggml_backend_dev_backend_reg); FUNCTION(ggml_backend_reg_get_proc_address);
    FUNCTION(llama_backend_init); FUNCTION(llama_log_set); FUNCTION(llama_model_default_params); FUNCTION(llama_context_default_params);
    FUNCTION(llama_model_quantize_default_params); 
    FUNCTION(llama_model_load_from_file); FUNCTION(llama_model_free); FUNCTION(llama_model_quantize); FUNCTION(llama_model_get_vocab);
    FUNCTION(llama_model_n_ctx_train); FUNCTION(llama_model_n_embd); FUNCTION(llama_model_n_layer); FUNCTION(llama_model_n_head);
    FUNCTION(llama_model_n_head_kv); FUNCTION(llama_model_desc); FUNCTION(llama_model_size); FUNCTION(llama_model_n_params);
    FUNCTION(llama_model_chat_template); FUNCTION(llama_model_has_encoder); FUNCTION(llama_model_has_decoder);
    FUNCTION(llama_model_is_recurrent); FUNCTION(llama_model_is_hybrid); FUNCTION(llama_vocab_n_tokens);
    FUNCTION(llama_vocab_is_eog); FUNCTION(llama_vocab_bos); FUNCTION(llama_vocab_eos);
    FUNCTION(llama_vocab_eot); FUNCTION(llama_vocab_get_add_bos); FUNCTION(llama_tokenize); FUNCTION(llama_token_to_piece);
    FUNCTION(llama_detokenize); FUNCTION(llama_chat_apply_template); FUNCTION(llama_init_from_model); FUNCTION(llama_free);
    FUNCTION(llama_set_n_threads); FUNCTION(llama_attach_threadpool); FUNCTION(llama_n_ctx); FUNCTION(llama_n_batch); FUNCTION(llama_n_ubatch);
    FUNCTION(llama_get_memory); FUNCTION(llama_decode); FUNCTION(llama_get_logits);
    FUNCTION(llama_get_embeddings); FUNCTION(llama_get_embeddings_seq); FUNCTION(llama_model_n_cls_out); FUNCTION(llama_model_cls_label);
    FUNCTION(llama_memory_clear); FUNCTION(llama_memory_seq_rm); FUNCTION(llama_memory_seq_cp);
    FUNCTION(llama_memory_seq_pos_min); FUNCTION(llama_memory_seq_pos_max);
}
