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
