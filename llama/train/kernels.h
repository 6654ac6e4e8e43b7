#ifndef IVO_TRAIN_KERNELS_H
#define IVO_TRAIN_KERNELS_H

// The elementwise parts of the network: everything but matrix products. All
// matrices are row-major float; n is a number of rows (tokens), d a row's length.
// A name ending in _back is the derivative of the one before it.

// y = x / rms(x) * gain; inv[n] keeps 1/rms(x).
void rms_norm(long n, long d, const float *x, const float *gain, float eps, float *y, float *inv);
// Adds to dx and dgain.
void rms_norm_back(long n, long d, const float *x, const float *gain, const float *inv,
                   const float *dy, float *dx, float *dgain);

// Rotates the pairs (2i, 2i+1) of each head of size hd by the token's position:
// table[pos[t]] holds hd/2 pairs of cosine and sine. direction is 1, or -1 for the
// derivative. Rows of x lie ld apart.
void rope(long n, long heads, long hd, const int *pos, const float *table, float direction, float *x, long ld);

// Softmax over the first+i+1 leading columns of each row i, zero in the other cols.
void causal_softmax(long n, long first, long cols, float *x, long ld);
// dx = p * (dx - <p, dx>), in place, over the same columns.
void causal_softmax_back(long n, long first, long cols, const float *p, float *dx, long ld);

// y[n][d] = silu(x[:, :d]) * x[:, d:] for x[n][2d].
void swiglu(long n, long d, const float *x, float *y);
void swiglu_back(long n, long d, const float *x, const float *dy, float *dx);

// out = (1 - share) log p[target] + share log p[other] for p = softmax(x), natural
// logarithm; x becomes p. The derivative takes p and leaves dx.
void log_likelihood(long n, long d, float *x, const int *target, const int *other, const float *share, float *out);
void log_likelihood_back(long n, long d, float *p, const int *target, const int *other, const float *share, const float *dout);

// out[i][:] = table[row[i]][:], and its derivative, which adds to dtable.
void gather(long n, long d, const float *table, const int *row, float *out);
void gather_back(long n, long d, const int *row, const float *dout, float *dtable);

// Adds the gradients of the other shards (stride apart, in order) to the first one's
// n values, and returns the sum of their squares.
double reduce(long n, long shards, float *g, long stride);

// AdamW (Loshchilov and Hutter 2019): p -= lr * (mhat / (sqrt(vhat) + eps) + decay * p),
// with c1 = 1/(1-b1^t), c2 = 1/(1-b2^t); scale multiplies the gradient first (clipping).
void adamw(long n, float *p, float *m, float *v, const float *g, float scale,
           float lr, float b1, float b2, float c1, float c2, float decay);

#endif
