#include "exp.h"

#include <string.h>

#include "vec.h"

static inline vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

// exp1 is 2^n e^r with |r| <= ln(2)/2 and e^r by its Taylor series to r^6.
static inline vec exp1(vec x) {
	const vec zero = {0};
	const vec toint = zero + 0x1.8p23f; // a float of this size has an ulp of 1
	const float hi = 0.693359375f, lo = -2.12194440e-4f; // ln(2); hi has few bits, so n*hi is exact
	const vec low = zero - 87.0f, high = zero + 88.0f;
	x = choose(x < low, low, x);
	x = choose(x > high, high, x);
	vec shifted = x * 1.44269504f + toint;
	vec n = shifted - toint;
	vec r = x - n * hi - n * lo;
	vec p = 1.0f + r * (1.0f + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720))))));
	return p * (vec)(((ivec)shifted - (ivec)toint + 127) << 23);
}

float ivo_exp(float *x, long n, float shift) {
	vec sum = {0};
	long i = 0;
	for (; i + LANES <= n; i += LANES) {
		vec y = exp1(*(vec *)(x + i) - shift);
		*(vec *)(x + i) = y;
		sum += y;
	}
	float total = 0, rest[LANES] = {0};
	for (int l = 0; l < LANES; l++) total += sum[l];
	if (i < n) {
		memcpy(rest, x + i, (n - i) * sizeof *x);
		vec y = exp1(*(vec *)rest - shift);
		*(vec *)rest = y;
		memcpy(x + i, rest, (n - i) * sizeof *x);
		for (int l = 0; l < n - i; l++) total += rest[l];
	}
	return total;
}

float ivo_tilt(float *out, const float *x, const float *y, long n, float x0, float p, float y0, float q, float *moment) {
	vec sum = {0}, first = {0};
	for (long i = 0; i < n; i += LANES) {
		float xs[LANES], ys[LANES], es[LANES] = {0}; // of what is left at the end
		long left = n - i < LANES ? n - i : LANES;
		if (left == LANES) {
			vec d = *(const vec *)(y + i) - y0;
			vec e = exp1(p * (*(const vec *)(x + i) - x0) + q * d);
			*(vec *)(out + i) = e;
			sum += e;
			first += e * d;
			continue;
		}
		for (long l = 0; l < LANES; l++) {
			xs[l] = l < left ? x[i + l] : x0;
			ys[l] = l < left ? y[i + l] : y0;
		}
		vec e = exp1(p * (*(vec *)xs - x0) + q * (*(vec *)ys - y0));
		memcpy(es, &e, left * sizeof *es);
		memcpy(out + i, es, left * sizeof *out);
		sum += *(vec *)es;
		first += *(vec *)es * (*(vec *)ys - y0);
	}
	float total = 0;
	*moment = 0;
	for (int l = 0; l < LANES; l++) {
		total += sum[l];
		*moment += first[l];
	}
	return total;
}
