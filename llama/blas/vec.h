#ifndef IVO_BLAS_VEC_H
#define IVO_BLAS_VEC_H

// One vector register: what is wider than the machine's, compilers lower badly.
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#endif
