// The places where llama.cpp's API differs between the releases that ivo links to.
// Each function is a template with one overload a release: overload resolution drops
// the one whose fields or functions the headers do not have (SFINAE), and prefers the
// first where they have both (int is a better match for 0 than long).
#ifndef IVO_COMPAT_H
#define IVO_COMPAT_H

#include "shim_impl.h"

// How the weights are read: two flags, or in newer releases one mode
// (LLAMA_LOAD_MODE_NONE 0, MMAP 1, MLOCK 2, MMAP_MLOCK 3).
template <class P> auto set_load_mode(P & p, bool mmap, bool mlock, int) -> decltype(void(p.load_mode)) {
    p.load_mode = static_cast<decltype(p.load_mode)>((mmap ? 1 : 0) | (mlock ? 2 : 0));
}
template <class P> auto set_load_mode(P & p, bool mmap, bool mlock, long) -> decltype(void(p.use_mmap)) {
    p.use_mmap = mmap;
    p.use_mlock = mlock;
}

// The LoRA adapters of a context, replacing the ones it had.
template <class C, class A> auto set_loras(C * ctx, A ** adapters, float * scales, size_t n, int) -> decltype(llama_set_adapters_lora(ctx, adapters, n, scales)) {
    return llama_set_adapters_lora(ctx, adapters, n, scales);
}
template <class C, class A> auto set_loras(C * ctx, A ** adapters, float * scales, size_t n, long) -> decltype(llama_set_adapter_lora(ctx, adapters[0], scales[0])) {
    llama_clear_adapter_lora(ctx);
    for (size_t i = 0; i < n; i++) {
        if (const int32_t status = llama_set_adapter_lora(ctx, adapters[i], scales[i])) {
            return status;
        }
    }
    return 0;
}

// The control vector of a context; data is nullptr for none.
template <class C> auto set_cvec(C * ctx, const float * data, size_t len, int32_t width, int32_t from, int32_t to, int)
    -> decltype(llama_set_adapter_cvec(ctx, data, len, width, from, to)) {
    return llama_set_adapter_cvec(ctx, data, len, width, from, to);
}
template <class C> auto set_cvec(C * ctx, const float * data, size_t len, int32_t width, int32_t from, int32_t to, long)
    -> decltype(llama_apply_adapter_cvec(ctx, data, len, width, from, to)) {
    return llama_apply_adapter_cvec(ctx, data, len, width, from, to);
}

#endif
