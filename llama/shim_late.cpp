// The end of a context of the embedded llama.cpp.
#include "shim_late.h"

#if !defined(IVO_SYSTEM) && defined(__linux__)

namespace {
thread_local std::vector<void *> * parting = nullptr;
}

// embedded.go has the linker send calls of ggml_backend_free here (--wrap).
extern "C" void __real_ggml_backend_free(void * backend);
extern "C" void __wrap_ggml_backend_free(void * backend) {
    if (parting) {
        parting->push_back(backend);
    } else {
        __real_ggml_backend_free(backend);
    }
}

late_backends::late_backends() : outer(parting) { parting = &freed; }

late_backends::~late_backends() {
    parting = outer;
    for (void * backend : freed) {
        __real_ggml_backend_free(backend);
    }
}

#else

late_backends::late_backends() : outer(nullptr) {}
late_backends::~late_backends() {}

#endif
