#ifndef IVO_BLAS_GEMM_H
#define IVO_BLAS_GEMM_H

// Floats of scratch that one call of ivo_sgemm needs.
enum { IVO_GEMM_SCRATCH = 96 * 256 + 256 * 512 };

// C = alpha*op(A)*op(B) + beta*C, all row-major. op(A) is m x k, op(B) is k x n;
// ta and tb say that A and B are stored transposed. The caller has checked the bounds.
void ivo_sgemm(int ta, int tb, long m, long n, long k,
               float alpha, const float *a, long lda, const float *b, long ldb,
               float beta, float *c, long ldc, float *scratch);

#endif
