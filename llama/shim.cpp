// Models, vocabularies, adapters, grammars and devices.
#include "shim_impl.h"

#include "compat.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#include <pthread.h>
#endif

// The architectures' names, which llama.cpp's API does not give: this is a function of its own
// (llama-arch.h). Of a shared library it is asked for at run time, as not all may offer it.
enum llm_arch { LLM_ARCH_FIRST = 0, LLM_ARCH_LAST = INT_MAX };
#if !defined(IVO_SYSTEM) || defined(IVO_LLAMA_STATIC)
const char * llm_arch_name(llm_arch arch);
#endif

namespace {

// While llama_model_quantize runs, its thread's log tells the progress: lines that begin
// with [tensor/tensors].
thread_local uintptr_t quantize_progress = 0;

void log_line(enum ggml_log_level level, const char * text, void *) {
    ivoLog(level, const_cast<char *>(text));
    int done = 0, total = 0;
    if (quantize_progress && sscanf(text, "[ %d/ %d]", &done, &total) == 2 && total > 0) {
        if (!ivoProgress(quantize_progress, float(done - 1) / float(total))) {
            throw std::runtime_error("cancelled"); // llama_model_quantize catches it and cleans up
        }
    }
}

// on_stack runs f on a thread with a stack of the given size; false if there is none.
template <class F> bool on_stack(size_t size, F f) {
#ifdef _WIN32
    f();
    return true;
#else
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    const bool ok = pthread_attr_setstacksize(&attr, size) == 0 &&
        pthread_create(&thread, &attr, [](void * f) -> void * { (*static_cast<F *>(f))(); return nullptr; }, &f) == 0;
    pthread_attr_destroy(&attr);
    return ok && pthread_join(thread, nullptr) == 0;
#endif
}

// file_of is the name of the file that an assertion begins with.
std::string file_of(const char * what) {
    const std::string path(what, strcspn(what, ":"));
    return path.substr(path.find_last_of('/') + 1);
}

// of_kernel says whether an assertion may be one of ggml's kernels.
bool of_kernel(const char * what) {
    const std::string file = file_of(what);
    return file.rfind("llama", 0) != 0 && file.rfind("ggml-backend", 0) != 0;
}

// Where llama.cpp would end the process, ggml calls this first.
void on_abort(const char * what) {
    if (guards == guarding::all || (guards == guarding::all_but_kernels && !of_kernel(what))) {
        throw gave_up(what);
    }
    if (file_of(what) == "ggml-rpc.cpp") { // on the thread that talks to a server
        ivoLost();
    }
    fprintf(stderr, "%s\n", what);
}

const llama_vocab * vocab_of(const ivo_model * m) { return llama_model_get_vocab(m); }

bool progress(float p, void * handle) { return ivoProgress(reinterpret_cast<uintptr_t>(handle), p); }

} // namespace

void ivo_init(void) {
    setenv("GGML_NO_BACKTRACE", "1", 0); // an abort would start gdb
    llama_log_set(log_line, nullptr);
    ggml_log_set(log_line, nullptr);
    ggml_set_abort_callback(on_abort);
    guarded(0, [] {
#if defined(IVO_SYSTEM) && !defined(IVO_LLAMA_STATIC)
        ggml_backend_load_all(); // a system's backends are libraries that wait to be loaded
#endif
        llama_backend_init();
        return 0;
    });
}

#define IVO_SPELLED(name) #name
#define IVO_TEXT(name) IVO_SPELLED(name)

const char * ivo_release(void) {
#ifdef IVO_LLAMA_CPP
    return IVO_TEXT(IVO_LLAMA_CPP);
#else
    return "";
#endif
}

const char * ivo_architecture(int32_t i) {
#if !defined(IVO_SYSTEM) || defined(IVO_LLAMA_STATIC)
    const auto name_of = llm_arch_name;
#elif !defined(_WIN32)
    const auto name_of = reinterpret_cast<const char * (*)(llm_arch)>(dlsym(RTLD_DEFAULT, "_Z13llm_arch_name8llm_arch"));
#else
    const char * (*name_of)(llm_arch) = nullptr;
#endif
    static const char * const end = "unknown"; // of numbers that are none
    const char * name = name_of ? name_of(static_cast<llm_arch>(i)) : end;
    return strcmp(name, end) == 0 ? nullptr : name;
}

const char * ivo_library(void) {
#ifndef _WIN32
    // The next definition after the program's own: there the name may be a jump to the library.
    Dl_info info;
    void * f = dlsym(RTLD_NEXT, "llama_backend_init");
    if (f && dladdr(f, &info)) {
        return info.dli_fname;
    }
#endif
    return "";
}

bool ivo_supports_gpu_offload(void) { return llama_supports_gpu_offload(); }

#ifdef IVO_SYSTEM
namespace {

// rpc_proc is a function that the RPC backend offers by name, nullptr where there is no such backend.
template <class F> F rpc_proc(const char * name) {
    const ggml_backend_reg_t rpc = ggml_backend_reg_by_name("RPC");
    return rpc ? reinterpret_cast<F>(ggml_backend_reg_get_proc_address(rpc, name)) : nullptr;
}

} // namespace

int32_t ivo_rpc_add(const char * endpoint) {
    const without_sigpipe quiet;
    return guarded<>(int32_t(IVO_RPC_REFUSED), [&] {
        const auto add = rpc_proc<ggml_backend_reg_t (*)(const char *)>("ggml_backend_rpc_add_server");
        if (!add) {
            return int32_t(IVO_RPC_NOT_BUILT);
        }
        const ggml_backend_reg_t server = add(endpoint);
        if (!server) {
            return int32_t(IVO_RPC_REFUSED);
        }
        ggml_backend_register(server);
        return int32_t(IVO_RPC_TAKEN);
    });
}

int32_t ivo_rpc_serve(const char * endpoint, int32_t n_threads, const int32_t * devices, int32_t n_devices) {
    return guarded<>(int32_t(IVO_RPC_REFUSED), [&] {
        const auto serve = rpc_proc<void (*)(const char *, const char *, size_t, size_t, ggml_backend_dev_t *)>("ggml_backend_rpc_start_server");
        if (!serve) {
            return int32_t(IVO_RPC_NOT_BUILT);
        }
        std::vector<ggml_backend_dev_t> offered;
        for (int32_t i = 0; i < n_devices; i++) {
            offered.push_back(ggml_backend_dev_get(devices[i]));
        }
        serve(endpoint, nullptr, n_threads, offered.size(), offered.data());
        return int32_t(IVO_RPC_REFUSED);
    });
}
#else
int32_t ivo_rpc_add(const char *) { return IVO_RPC_NOT_BUILT; }

int32_t ivo_rpc_serve(const char *, int32_t, const int32_t *, int32_t) { return IVO_RPC_NOT_BUILT; }
#endif

ivo_model * ivo_model_load(const char * path, const ivo_model_params * p) {
    const without_sigpipe quiet;
    return guarded<>(static_cast<ivo_model *>(nullptr), [&] {
        llama_model_params mp = llama_model_default_params();
        mp.n_gpu_layers = p->n_gpu_layers;
        mp.split_mode = static_cast<enum llama_split_mode>(p->split_mode);
        mp.main_gpu = p->main_gpu;
        std::vector<float> split(llama_max_devices(), 0); // it reads this many, whatever there are
        if (p->tensor_split) {
            for (size_t i = 0; i < split.size() && i < ggml_backend_dev_count(); i++) {
                split[i] = p->tensor_split[i];
            }
            mp.tensor_split = split.data();
        }
        std::vector<ggml_backend_dev_t> devices;
        if (p->devices) {
            for (int32_t i = 0; i < p->n_devices; i++) {
                devices.push_back(ggml_backend_dev_get(p->devices[i]));
            }
            devices.push_back(nullptr);
            mp.devices = devices.data();
        }
        mp.vocab_only = p->vocab_only;
        set_load_mode(mp, p->use_mmap, p->use_mlock, 0);
        mp.check_tensors = p->check_tensors;
        llama_model_kv_override overrides[2] = {}; // an empty key ends them
        if (p->pre) {
            overrides[0].tag = LLAMA_KV_OVERRIDE_TYPE_STR;
            snprintf(overrides[0].key, sizeof(overrides[0].key), "tokenizer.ggml.pre");
            snprintf(overrides[0].val_str, sizeof(overrides[0].val_str), "%s", p->pre);
            mp.kv_overrides = overrides;
        }
        if (p->progress) {
            mp.progress_callback = progress;
            mp.progress_callback_user_data = reinterpret_cast<void *>(p->progress);
        }
        return llama_model_load_from_file(path, mp);
    });
}

void ivo_model_free(ivo_model * m) { llama_model_free(m); }

uint32_t ivo_quantize(const char * in, const char * out, const ivo_quantize_params * p) {
    quantize_progress = p->progress;
    const uint32_t status = guarded<>(uint32_t(1), [&] {
        llama_model_quantize_params qp = llama_model_quantize_default_params();
        qp.ftype = static_cast<enum llama_ftype>(p->ftype);
        qp.nthread = p->n_threads;
        qp.allow_requantize = p->allow_requantize;
        qp.quantize_output_tensor = p->quantize_output;
        qp.pure = p->pure;
        return llama_model_quantize(in, out, &qp);
    });
    quantize_progress = 0;
    return status;
}

void ivo_model_describe(const ivo_model * m, bool weights, ivo_model_info * info, char * desc, size_t desc_size) {
    const llama_vocab * v = vocab_of(m);
    info->n_vocab = llama_vocab_n_tokens(v);
    info->vocab_type = llama_vocab_type(v);
    info->bos = llama_vocab_bos(v);
    info->eos = llama_vocab_eos(v);
    info->eot = llama_vocab_eot(v);
    info->nl = llama_vocab_nl(v);
    info->pad = llama_vocab_pad(v);
    info->sep = llama_vocab_sep(v);
    info->mask = llama_vocab_mask(v);
    info->fim_pre = llama_vocab_fim_pre(v);
    info->fim_suf = llama_vocab_fim_suf(v);
    info->fim_mid = llama_vocab_fim_mid(v);
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
    info->n_swa = llama_model_n_swa(m);
    info->n_params = llama_model_n_params(m);
    info->size = llama_model_size(m);
    info->has_encoder = llama_model_has_encoder(m);
    info->has_decoder = llama_model_has_decoder(m);
    info->recurrent = llama_model_is_recurrent(m) || llama_model_is_hybrid(m);
    llama_model_desc(m, desc, desc_size);
}

int32_t ivo_tokenize(const ivo_model * m, const char * text, int32_t len, int32_t * tokens, int32_t max, bool special, bool parse, size_t stack) {
    int32_t n = INT32_MIN;
    const auto tokenize = [&] {
        n = guarded<>(INT32_MIN, [&] { return llama_tokenize(vocab_of(m), text, len, tokens, max, special, parse); });
    };
    if (stack == 0) {
        tokenize();
    } else if (!on_stack(stack, tokenize)) {
        log_text("no memory for the tokenizer's stack");
    }
    return n;
}

int32_t ivo_piece(const ivo_model * m, int32_t token, char * buf, int32_t len, bool special) {
    return guarded<>(INT32_MIN, [&] { return llama_token_to_piece(vocab_of(m), token, buf, len, 0, special); });
}

int32_t ivo_detokenize(const ivo_model * m, const int32_t * tokens, int32_t n, char * buf, int32_t len, bool special) {
    return guarded<>(INT32_MIN, [&] { return llama_detokenize(vocab_of(m), tokens, n, buf, len, false, special); });
}

bool ivo_is_eog(const ivo_model * m, int32_t token) { return llama_vocab_is_eog(vocab_of(m), token); }

void ivo_token_get(const ivo_model * m, int32_t token, ivo_token * t) {
    const llama_vocab * v = vocab_of(m);
    t->text = llama_vocab_get_text(v, token);
    t->score = llama_vocab_get_score(v, token);
    t->attr = llama_vocab_get_attr(v, token);
}

int32_t ivo_chat(const char * tmpl, const char ** roles, const char ** contents, size_t n, bool assistant, char * buf, int32_t len) {
    return guarded<>(INT32_MIN, [&] {
        std::vector<llama_chat_message> messages(n);
        for (size_t i = 0; i < n; i++) {
            messages[i] = {roles[i], contents[i]};
        }
        return llama_chat_apply_template(tmpl, messages.data(), n, assistant, buf, len);
    });
}

ivo_lora * ivo_lora_load(ivo_model * m, const char * path) {
    return guarded<>(static_cast<ivo_lora *>(nullptr), [&] { return llama_adapter_lora_init(m, path); });
}

void ivo_lora_free(ivo_lora * l) { llama_adapter_lora_free(l); }

ivo_grammar * ivo_grammar_new(const ivo_model * m, const char * gbnf, const char * root) {
    return guarded<>(static_cast<ivo_grammar *>(nullptr), [&] { return llama_sampler_init_grammar(vocab_of(m), gbnf, root); });
}

ivo_grammar * ivo_grammar_clone(const ivo_grammar * g) {
    return guarded<>(static_cast<ivo_grammar *>(nullptr), [&] { return llama_sampler_clone(g); });
}

void ivo_grammar_free(ivo_grammar * g) { llama_sampler_free(g); }

bool ivo_grammar_mask(ivo_grammar * g, const int32_t * tokens, int32_t n, bool * allowed) {
    return guarded(false, [&] {
        std::vector<llama_token_data> data(n);
        for (int32_t i = 0; i < n; i++) {
            data[i] = {tokens[i], 0, 0};
        }
        llama_token_data_array candidates = {data.data(), data.size(), -1, false};
        llama_sampler_apply(g, &candidates);
        for (int32_t i = 0; i < n; i++) {
            allowed[i] = data[i].logit == 0; // the others are at minus infinity
        }
        return true;
    });
}

bool ivo_grammar_accept(ivo_grammar * g, int32_t token) {
    return guarded(false, [&] { llama_sampler_accept(g, token); return true; });
}

bool ivo_dequantize(int32_t type, const void * from, float * to, int64_t n) {
    if (type < 0 || type >= GGML_TYPE_COUNT) {
        return false;
    }
    const ggml_type_traits * t = ggml_get_type_traits(static_cast<enum ggml_type>(type));
    if (!t || !t->to_float) {
        return false;
    }
    t->to_float(from, to, n);
    return true;
}

size_t ivo_device_count(void) { return ggml_backend_dev_count(); }

void ivo_device_get(size_t i, ivo_device * d) {
    ggml_backend_dev_t dev = ggml_backend_dev_get(i);
    d->name = ggml_backend_dev_name(dev);
    d->description = ggml_backend_dev_description(dev);
    d->type = ggml_backend_dev_type(dev);
    ggml_backend_dev_memory(dev, &d->free, &d->total);
}

bool ivo_cpu_feature(size_t i, const char ** name, const char ** value) {
    auto get = cpu_proc<ggml_backend_get_features_t>("ggml_backend_get_features");
    if (!get) {
        return false;
    }
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    for (ggml_backend_feature * f = get(ggml_backend_dev_backend_reg(cpu)); f && f->name; f++, i--) {
        if (i == 0) {
            *name = f->name;
            *value = f->value;
            return true;
        }
    }
    return false;
}
