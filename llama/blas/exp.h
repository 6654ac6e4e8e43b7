#ifndef IVO_BLAS_EXP_H
#define IVO_BLAS_EXP_H

// x[i] = e^(x[i] - shift), to a relative error of about 2e-7, the exponent clamped to
// [-87, 88]. Returns the sum.
float ivo_exp(float *x, long n, float shift);

#endif
