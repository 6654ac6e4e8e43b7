#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-math-errno", "no-trapping-math") // else exponential and sqrtf are not vectorised
#endif
#include "kernels.h"

#include <math.h>
#include <string.h>

// Reductions are summed in the lanes of one vector register, which the compiler may
// not do by itself.
#if defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline float lanes(vec s) {
	float sum = 0;
	for (int i = 0; i < LANES; i++) sum += s[i];
	return sum;
}

static inline float dot(const float *a, const float *b, long n) {
	vec s0 = {0}, s1 = {0};
	long i = 0;
	for (; i + 2 * LANES <= n; i += 2 * LANES) {
		s0 += *(const vec *)(a + i) * *(const vec *)(b + i);
		s1 += *(const vec *)(a + i + LANES) * *(const vec *)(b + i + LANES);
	}
	float sum = lanes(s0 + s1);
	for (; i < n; i++) sum += a[i] * b[i];
	return sum;
}

static inline float total(const float *a, long n) {
	vec s0 = {0}, s1 = {0};
	long i = 0;
	for (; i + 2 * LANES <= n; i += 2 * LANES) {
		s0 += *(const vec *)(a + i);
		s1 += *(const vec *)(a + i + LANES);
	}
	float sum = lanes(s0 + s1);
	for (; i < n; i++) sum += a[i];
	return sum;
}

static inline float largest(const float *a, long n) {
	float m = a[0];
	long i = 0;
	if (n >= LANES) {
		vec s = *(const vec *)a;
		for (i = LANES; i + LANES <= n; i += LANES) {
			vec x = *(const vec *)(a + i);
			mask gt = x > s;
			s = (vec)((gt & (mask)x) | (~gt & (mask)s));
		}
		for (int l = 0; l < LANES; l++) m = s[l] > m ? s[l] : m;
	}
	for (; i < n; i++) m = a[i] > m ? a[i] : m;
	return m;
}

// exponential is e^x to about 2 ulp, in a form that compilers vectorise: x = k ln 2 + r,
// e^r by its Taylor polynomial, 2^k by building the exponent.
static inline float exponential(float x) {
	x = x < -87.f ? -87.f : x;
	x = x > 88.f ? 88.f : x;
	const float round = 12582912.f; // 1.5 * 2^23: adding it rounds to an integer
	float k = (x * 1.44269504f + round) - round;
	float r = x - k * 0.693359375f + k * 2.12194440e-4f; // ln 2 in two parts
	float p = 1.f / 720;
	p = p * r + 1.f / 120;
	p = p * r + 1.f / 24;
	p = p * r + 1.f / 6;
	p = p * r + .5f;
	p = p * r + 1;
	p = p * r + 1;
	union { int i; float f; } pow2 = {.i = ((int)k + 127) << 23};
	return p * pow2.f;
}

// softmax turns x into e^(x-max)/sum and returns log(sum e^x).
static inline float softmax(float *x, long n) {
	float m = largest(x, n);
	for (long i = 0; i < n; i++) x[i] = exponential(x[i] - m);
	float sum = total(x, n), inv = 1 / sum;
	for (long i = 0; i < n; i++) x[i] *= inv;
	return m + logf(sum);
}

void rms_norm(long n, long d, const float *x, const float *gain, float eps, float *y, float *inv) {
	for (long t = 0; t < n; t++, x += d, y += d) {
		float r = 1 / sqrtf(dot(x, x, d) / d + eps);
		inv[t] = r;
		for (long i = 0; i < d; i++) y[i] = x[i] * r * gain[i];
	}
}

void rms_norm_back(long n, long d, const float *x, const float *gain, const float *inv,
                   const float *dy, float *dx, float *dgain) {
	for (long t = 0; t < n; t++, x += d, dy += d, dx += d) {
		float r = inv[t];
		vec s = {0};
		float inner = 0; // <dy*gain, x>
		long i = 0;
		for (; i + LANES <= d; i += LANES)
			s += *(const vec *)(dy + i) * *(const vec *)(gain + i) * *(const vec *)(x + i);
		for (; i < d; i++) inner += dy[i] * gain[i] * x[i];
		inner = (inner + lanes(s)) * r * r * r / d;
		for (i = 0; i < d; i++) {
			dgain[i] += dy[i] * x[i] * r;
			dx[i] += dy[i] * gain[i] * r - x[i] * inner;
		}
	}
}

void rope(long n, long heads, long hd, const int *pos, const float *table, float direction, float *x, long ld) {
	for (long t = 0; t < n; t++, x += ld) {
		const float *cs = table + pos[t] * hd;
		for (long h = 0; h < heads; h++) {
			float *y = x + h * hd;
			for (long i = 0; i < hd; i += 2) {
				float c = cs[i], s = direction * cs[i + 1], a = y[i], b = y[i + 1];
				y[i] = a * c - b * s;
				y[i + 1] = a * s + b * c;
			}
		}
	}
}

void causal_softmax(long n, long first, long cols, float *x, long ld) {
	for (long t = 0; t < n; t++, x += ld) {
		long seen = first + t + 1;
		softmax(x, seen);
		memset(x + seen, 0, (cols - seen) * sizeof *x);
	}
}

void causal_softmax_back(long n, long first, long cols, const float *p, float *dx, long ld) {
	for (long t = 0; t < n; t++, p += ld, dx += ld) {
		long seen = first + t + 1;
		float mean = dot(p, dx, seen);
		for (long i = 0; i < seen; i++) dx[i] = p[i] * (dx[i] - mean);
		memset(dx + seen, 0, (cols - seen) * sizeof *dx);
	}
}

static inline float sigmoid(float x) { return 1 / (1 + exponential(-x)); }

void swiglu(long n, long d, const float *restrict x, float *restrict y) {
	for (long t = 0; t < n; t++, x += 2 * d, y += d)
		for (long i = 0; i < d; i++) y[i] = x[i] * sigmoid(x[i]) * x[d + i];
}

void swiglu_back(long n, long d, const float *restrict x, const float *restrict dy, float *restrict dx) {
	for (long t = 0; t < n; t++, x += 2 * d, dx += 2 * d, dy += d)
		for (long i = 0; i < d; i++) {
			float g = x[i], s = sigmoid(g);
			dx[i] = dy[i] * x[d + i] * s * (1 + g * (1 - s));
			dx[d + i] = dy[i] * g * s;
		}
}

void log_likelihood(long n, long d, float *x, const int *target, const int *other, const float *share, float *out) {
	for (long t = 0; t < n; t++, x += d) {
		float chosen = (1 - share[t]) * x[target[t]] + share[t] * x[other[t]];
		out[t] = chosen - softmax(x, d);
	}
}

void log_likelihood_back(long n, long d, float *p, const int *target, const int *other, const float *share, const float *dout) {
	for (long t = 0; t < n; t++, p += d) {
		float w = dout[t];
		for (long i = 0; i < d; i++) p[i] *= -w;
		p[target[t]] += w * (1 - share[t]);
		p[other[t]] += w * share[t];
	}
}

void gather(long n, long d, const float *table, const int *row, float *out) {
	for (long t = 0; t < n; t++) memcpy(out + t * d, table + row[t] * d, d * sizeof *out);
}

void gather_back(long n, long d, const int *row, const float *restrict dout, float *restrict dtable) {
	for (long t = 0; t < n; t++)
		for (long i = 0; i < d; i++) dtable[row[t] * d + i] += dout[t * d + i];
}

double reduce(long n, long shards, float *g, long stride) {
	double norm = 0;
	for (long i = 0; i < n; i += 256) { // a piece stays in the first-level cache
		long w = n - i < 256 ? n - i : 256;
		for (long s = 1; s < shards; s++) {
			const float *restrict from = g + s * stride + i;
			float *restrict to = g + i;
			for (long j = 0; j < w; j++) to[j] += from[j];
		}
		norm += dot(g + i, g + i, w);
	}
	return norm;
}

void adamw(long n, float *restrict p, float *restrict m, float *restrict v, const float *restrict g, float scale,
           float lr, float b1, float b2, float c1, float c2, float decay) {
	for (long i = 0; i < n; i++) {
		float gi = g[i] * scale;
		m[i] = b1 * m[i] + (1 - b1) * gi;
		v[i] = b2 * v[i] + (1 - b2) * gi * gi;
		p[i] -= lr * (m[i] * c1 / (sqrtf(v[i] * c2) + 1e-8f) + decay * p[i]);
	}
}
