#ifndef IVO_SHIM_LATE_H
#define IVO_SHIM_LATE_H

#include <vector>

// While a late_backends lives, backends that this thread frees are kept, and freed behind it. A llama_context ends with its
// backends before the scheduler that holds them, and the embedded ggml's scheduler looks at them once more at its own end
// (ggml_backend_sched_free asks each whether it has a reset): memory that another thread may have by then.
class late_backends {
  public:
    late_backends();
    ~late_backends();
    late_backends(const late_backends &) = delete;

  private:
    std::vector<void *> * outer, freed;
};

#endif
