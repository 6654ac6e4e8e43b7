// Single-precision matrix product after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008): blocks of A and B are copied into
// panels that the caches hold, and a register tile of MR x NR is summed over them.
// The copies undo any transposition, so one kernel serves all four cases; an A that
// lies as the kernel walks it is not copied. Few rows by a transposed B, what heads ask for
// while decoding, are dot products of what lies there already.
#include "gemm.h"

#include "vec.h"

typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

enum {
	MR = 6,         // 6 x 2 accumulators + 2 of B + 1 of A fit 16 registers
	NR = 2 * LANES,
	MC = 96,        // MC x KC of A: 96 KB, second-level cache
	KC = 256,       // KC x NR of B: 16 KB, first-level cache
	NC = 512,

	FEW = 16, // rows for which packing B costs more than it saves
	DR = 4,   // 4 x 3 accumulators + 3 of B + 1 of A
	DC = 3,
};
_Static_assert(MC % MR == 0 && NC % NR == 0, "blocks hold whole tiles");
_Static_assert(MC * KC + KC * NC == IVO_GEMM_SCRATCH, "scratch holds both blocks");

static inline long min(long a, long b) { return a < b ? a : b; }

// transpose4 writes the 4 x 4 block at src, whose rows lie rs apart, column by column,
// the columns ds apart.
static inline void transpose4(float *restrict dst, long ds, const float *restrict src, long rs) {
	vec4 a = *(const vec4 *)src, b = *(const vec4 *)(src + rs);
	vec4 c = *(const vec4 *)(src + 2 * rs), d = *(const vec4 *)(src + 3 * rs);
	vec4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
	vec4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
	*(vec4 *)dst = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
	*(vec4 *)(dst + ds) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
	*(vec4 *)(dst + 2 * ds) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
	*(vec4 *)(dst + 3 * ds) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

// panel copies count x k elements to dst, k groups of width each, padded with zeros.
// Element (i, p) lies at src[i*is + p*ps]; is or ps is 1.
static inline void panel(float *restrict dst, const float *restrict src,
                         long count, long k, long is, long ps, long width) {
	if (is == 1) {
		for (long p = 0; p < k; p++, dst += width, src += ps) {
			for (long i = 0; i < count; i++) dst[i] = src[i];
			for (long i = count; i < width; i++) dst[i] = 0;
		}
		return;
	}
	long p = 0;
	if (count == width)
		for (; p + 4 <= k; p += 4)
			for (long i = 0; i < width; i += 4) transpose4(dst + p * width + i, width, src + i * is + p, is);
	for (; p < k; p++)
		for (long i = 0; i < width; i++) dst[p * width + i] = i < count ? src[i * is + p] : 0;
}

// pack copies a count x k block into panels of width. A whole panel gets its
// constant width, so that the compiler unrolls the copy.
static inline void pack(float *dst, const float *src, long count, long k, long is, long ps, long width) {
	for (; count > 0; count -= width, dst += width * k, src += width * is) {
		if (count >= width)
			panel(dst, src, width, k, is, ps, width);
		else
			panel(dst, src, count, k, is, ps, width);
	}
}

// tile adds alpha * A * (one panel of B) to beta * C for the mr x nr corner of the
// register tile that lies inside C. Element (i, p) of A lies at a[i*is + p*ps].
static void tile(long k, const float *restrict a, long is, long ps, const float *restrict b,
                 float alpha, float beta, float *restrict c, long ldc, long mr, long nr) {
	const float *row[MR]; // rows past the corner repeat its last one
	for (int i = 0; i < MR; i++) row[i] = a + min(i, mr - 1) * is;
	vec acc[MR][2] = {{{0}}};
	for (long p = 0; p < k; p++, b += NR) {
		vec b0 = *(const vec *)b, b1 = *(const vec *)(b + LANES);
#pragma GCC unroll 6
		for (int i = 0; i < MR; i++) {
			acc[i][0] += row[i][p * ps] * b0;
			acc[i][1] += row[i][p * ps] * b1;
		}
	}
	if (mr == MR && nr == NR) {
#pragma GCC unroll 6
		for (int i = 0; i < MR; i++, c += ldc) {
			vec *c0 = (vec *)c, *c1 = (vec *)(c + LANES);
			if (beta == 0) { // C may hold anything, NaN too
				*c0 = alpha * acc[i][0];
				*c1 = alpha * acc[i][1];
			} else {
				*c0 = alpha * acc[i][0] + beta * *c0;
				*c1 = alpha * acc[i][1] + beta * *c1;
			}
		}
		return;
	}
	float out[MR][NR];
#pragma GCC unroll 6
	for (int i = 0; i < MR; i++) {
		*(vec *)&out[i][0] = alpha * acc[i][0];
		*(vec *)&out[i][LANES] = alpha * acc[i][1];
	}
	for (long i = 0; i < mr; i++, c += ldc)
		for (long j = 0; j < nr; j++) c[j] = beta == 0 ? out[i][j] : out[i][j] + beta * c[j];
}

static inline float sum(vec v) {
	float s[LANES];
	*(vec *)s = v;
	for (int half = LANES / 2; half > 0; half /= 2)
		for (int i = 0; i < half; i++) s[i] += s[i + half];
	return s[0];
}

// dots adds alpha times the products of mr rows of A and nr rows of B to beta * C.
static void dots(long k, const float *a, long lda, long mr, const float *b, long ldb, long nr,
                 float alpha, float beta, float *restrict c, long ldc) {
	const float *ra[DR], *rb[DC]; // rows past the corner repeat its last one
	for (int i = 0; i < DR; i++) ra[i] = a + min(i, mr - 1) * lda;
	for (int j = 0; j < DC; j++) rb[j] = b + min(j, nr - 1) * ldb;
	vec acc[DR][DC] = {{{0}}};
	long p = 0;
	for (; p + LANES <= k; p += LANES) {
		vec b0 = *(const vec *)(rb[0] + p), b1 = *(const vec *)(rb[1] + p), b2 = *(const vec *)(rb[2] + p);
#pragma GCC unroll 4
		for (int i = 0; i < DR; i++) {
			vec x = *(const vec *)(ra[i] + p);
			acc[i][0] += x * b0;
			acc[i][1] += x * b1;
			acc[i][2] += x * b2;
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < DR; i++)
#pragma GCC unroll 3
		for (int j = 0; j < DC; j++) {
			if (i >= mr || j >= nr) continue;
			float s = sum(acc[i][j]);
			for (long q = p; q < k; q++) s += ra[i][q] * rb[j][q];
			float *out = &c[i * ldc + j];
			*out = beta == 0 ? alpha * s : alpha * s + beta * *out; // C may hold anything
		}
}

void ivo_sgemm(int ta, int tb, long m, long n, long k,
               float alpha, const float *a, long lda, const float *b, long ldb,
               float beta, float *c, long ldc, float *scratch) {
	if (k == 0) {
		for (long i = 0; i < m; i++)
			for (long j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
		return;
	}
	if (tb && !ta && m <= FEW) { // rows of both lie as dot products want them
		for (long j = 0; j < n; j += DC)
			for (long i = 0; i < m; i += DR)
				dots(k, a + i * lda, lda, min(DR, m - i), b + j * ldb, ldb, min(DC, n - j), alpha, beta,
				     c + i * ldc + j, ldc);
		return;
	}
	float *pa = scratch, *pb = scratch + MC * KC;
	long depth = (k + KC - 1) / KC;
	depth = (k + depth - 1) / depth; // blocks of equal depth

	for (long j0 = 0; j0 < n; j0 += NC) {
		long nc = min(NC, n - j0);
		for (long p0 = 0; p0 < k; p0 += depth) {
			long kc = min(depth, k - p0);
			float scale = p0 == 0 ? beta : 1;
			if (tb)
				pack(pb, b + j0 * ldb + p0, nc, kc, ldb, 1, NR);
			else
				pack(pb, b + p0 * ldb + j0, nc, kc, 1, ldb, NR);
			for (long i0 = 0; i0 < m; i0 += MC) {
				long mc = min(MC, m - i0);
				// The rows of an untransposed A are read where they are.
				const float *block = a + i0 * lda + p0;
				long panels = lda, is = lda, ps = 1;
				if (ta) {
					pack(pa, a + p0 * lda + i0, mc, kc, 1, lda, MR);
					block = pa, panels = kc, is = 1, ps = MR;
				}
				for (long j = 0; j < nc; j += NR)
					for (long i = 0; i < mc; i += MR)
						tile(kc, block + i * panels, is, ps, pb + j * kc, alpha, scale,
						     c + (i0 + i) * ldc + j0 + j, ldc, min(MR, mc - i), min(NR, nc - j));
			}
		}
	}
}
