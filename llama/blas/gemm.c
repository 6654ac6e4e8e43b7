// Single-precision matrix product after Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication" (2008): blocks of A and B are copied into
// panels that the caches hold, and a register tile of MR x NR is summed over them.
// The copies undo any transposition, so one kernel serves all four cases.
#include "gemm.h"

// One vector register: what is wider than the machine's, compilers lower badly.
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

enum {
	MR = 6,         // 6 x 2 accumulators + 2 of B + 1 of A fit 16 registers
	NR = 2 * LANES,
	MC = 96,        // MC x KC of A: 96 KB, second-level cache
	KC = 256,       // KC x NR of B: 16 KB, first-level cache
	NC = 512,
};
_Static_assert(MC % MR == 0 && NC % NR == 0, "blocks hold whole tiles");
_Static_assert(MC * KC + KC * NC == IVO_GEMM_SCRATCH, "scratch holds both blocks");

static inline long min(long a, long b) { return a < b ? a : b; }

// panel copies rows x cols elements to dst, column by column, each column padded
// with zeros to width. Element (i, p) lies at src[i*rs + p*cs].
static inline void panel(float *restrict dst, const float *restrict src,
                         long rows, long cols, long rs, long cs, long width) {
	for (long i = rows; i < width; i++)
		for (long p = 0; p < cols; p++) dst[p * width + i] = 0;
	if (rs == 1)
		for (long p = 0; p < cols; p++)
			for (long i = 0; i < rows; i++) dst[p * width + i] = src[i + p * cs];
	else
		for (long p = 0; p < cols; p++)
			for (long i = 0; i < rows; i++) dst[p * width + i] = src[i * rs + p * cs];
}

// pack copies a rows x cols block into panels of width rows. Whole panels get
// their constant width, so that the compiler unrolls the copy.
static inline void pack(float *dst, const float *src, long rows, long cols, long rs, long cs, long width) {
	for (long i = 0; i < rows; i += width, dst += width * cols, src += width * rs) {
		if (rows - i >= width)
			panel(dst, src, width, cols, rs, cs, width);
		else
			panel(dst, src, rows - i, cols, rs, cs, width);
	}
}

// tile adds alpha * (one panel of A) * (one panel of B) to beta * C for the
// mr x nr corner of the register tile that lies inside C.
static void tile(long k, const float *restrict a, const float *restrict b, float alpha,
                 float beta, float *restrict c, long ldc, long mr, long nr) {
	vec acc[MR][2] = {{{0}}};
	for (long p = 0; p < k; p++, a += MR, b += NR) {
		vec b0 = *(const vec *)b, b1 = *(const vec *)(b + LANES);
#pragma GCC unroll 6
		for (int i = 0; i < MR; i++) {
			acc[i][0] += a[i] * b0;
			acc[i][1] += a[i] * b1;
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
	for (int i = 0; i < MR; i++) {
		*(vec *)&out[i][0] = alpha * acc[i][0];
		*(vec *)&out[i][LANES] = alpha * acc[i][1];
	}
	for (long i = 0; i < mr; i++, c += ldc)
		for (long j = 0; j < nr; j++) c[j] = beta == 0 ? out[i][j] : out[i][j] + beta * c[j];
}

void ivo_sgemm(int ta, int tb, long m, long n, long k,
               float alpha, const float *a, long lda, const float *b, long ldb,
               float beta, float *c, long ldc, float *scratch) {
	if (k == 0) {
		for (long i = 0; i < m; i++)
			for (long j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
		return;
	}
	float *pa = scratch, *pb = scratch + MC * KC;
	long ars = ta ? 1 : lda, acs = ta ? lda : 1;
	long brs = tb ? 1 : ldb, bcs = tb ? ldb : 1;
	long depth = (k + KC - 1) / KC;
	depth = (k + depth - 1) / depth; // blocks of equal depth

	for (long j0 = 0; j0 < n; j0 += NC) {
		long nc = min(NC, n - j0);
		for (long p0 = 0; p0 < k; p0 += depth) {
			long kc = min(depth, k - p0);
			float scale = p0 == 0 ? beta : 1;
			pack(pb, b + p0 * brs + j0 * bcs, nc, kc, bcs, brs, NR);
			for (long i0 = 0; i0 < m; i0 += MC) {
				long mc = min(MC, m - i0);
				pack(pa, a + i0 * ars + p0 * acs, mc, kc, ars, acs, MR);
				for (long j = 0; j < nc; j += NR)
					for (long i = 0; i < mc; i += MR)
						tile(kc, pa + i * kc, pb + j * kc, alpha, scale,
						     c + (i0 + i) * ldc + j0 + j, ldc, min(MR, mc - i), min(NR, nc - j));
			}
		}
	}
}
