#ifndef IVO_BLAS_EXP_H
#define IVO_BLAS_EXP_H

// x[i] = e^(x[i] - shift), to a relative error of about 2e-7, the exponent clamped to
// [-87, 88]. Returns the sum.
float ivo_exp(float *x, long n, float shift);

// out[i] = e^(p (x[i] - x0) + q (y[i] - y0)), clamped in the same way. Returns the sum, and that of
// out[i] (y[i] - y0) in moment.
float ivo_tilt(float *out, const float *x, const float *y, long n, float x0, float p, float y0, float q, float *moment);

#endif
