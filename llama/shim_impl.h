// What the C++ files of the shim share; Go does not see it.
#ifndef IVO_SHIM_IMPL_H
#define IVO_SHIM_IMPL_H

#include "shim.h"

// One source for two llama.cpp: the embedded one, whose headers our declarations stand
// for, and the system's (-tags llama_system). Where they differ, compat.h chooses by
// what the headers offer.
#ifdef IVO_SYSTEM
#include <llama.h>
#else
#include "abi.h"
#endif

#include <climits>
#include <csignal>
#include <exception>
#include <stdexcept>
#include <string>

// Go callbacks (callback.go).
extern "C" void ivoLog(int32_t level, char * text);
extern "C" bool ivoProgress(uintptr_t handle, float progress);
extern "C" void ivoLost();

inline void log_text(const char * what) { ivoLog(GGML_LOG_LEVEL_ERROR, const_cast<char *>(what)); }

// What llama.cpp asserts on and Go did not refuse: on a thread that is inside guarded,
// it is thrown instead of ending the process. Elsewhere nobody could catch it. In a decode
// an assertion of ggml's kernels is not thrown: the worker threads would wait for ever.
struct gave_up : std::runtime_error {
    explicit gave_up(const char * what) : std::runtime_error(std::string("llama.cpp gave up: ") + what) {}
};

enum class guarding { nothing, all_but_kernels, all };

inline thread_local guarding guards = guarding::nothing;

struct guard {
    const guarding outer = guards;
    explicit guard(guarding g) { guards = g; }
    ~guard() { guards = outer; }
};

// without_sigpipe keeps SIGPIPE from the threads that are begun meanwhile, such as that which talks to an RPC server: Go
// lets that signal end the process where a thread that is not Go's gets it, and a connection that broke is found anyway.
struct without_sigpipe {
#ifndef _WIN32
    sigset_t before;
    without_sigpipe() {
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe, &before);
    }
    ~without_sigpipe() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
#else
    without_sigpipe() {}
#endif
};

// guarded runs f and turns an exception into a logged error and the value fallback.
template <class F, class T> T guarded(T fallback, F f) {
    const guard on(guarding::all);
    try {
        return f();
    } catch (const std::exception & e) {
        log_text(e.what());
    } catch (...) {
        log_text("unknown C++ exception");
    }
    return fallback;
}

// cpu_proc is a function that the CPU backend offers by name, nullptr if there is none.
// A system's CPU backend is loaded at run time, so its functions cannot be linked.
template <class F> F cpu_proc(const char * name) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    return cpu ? reinterpret_cast<F>(ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), name)) : nullptr;
}

#endif
