// Statistics of one row of logits, on vectors of eight floats (GCC's and clang's
// vector extension: AVX2, NEON or whatever the compiler is told to use).
#ifndef IVO_ROWSTATS_H
#define IVO_ROWSTATS_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

// top_scratch is what row_top works in; it grows to the vocabulary's size.
struct top_scratch {
    std::vector<float> maxima, ranked;
    std::vector<int32_t> ids;
};

namespace {

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

inline f32x8 splat(float x) { return f32x8{x, x, x, x, x, x, x, x}; }

inline f32x8 load8(const float * p) {
    f32x8 v;
    memcpy(&v, p, sizeof v);
    return v;
}

inline float sum8(f32x8 v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

inline f32x8 max8(f32x8 a, f32x8 b) { return a > b ? a : b; }

// exp8 is e^x for x <= 0 with a relative error below 3e-7: x = n ln 2 + r, a Taylor
// polynomial of degree 6 in |r| <= ln 2 / 2, and n added to the exponent bits.
// Below -87 the result is 0.
inline f32x8 exp8(f32x8 x) {
    const f32x8 clipped = max8(x, splat(-87.0f));
    const f32x8 shifter = splat(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer
    const f32x8 n = (clipped * splat(1.44269504f) + shifter) - shifter;
    const f32x8 r = (clipped - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
    f32x8 p = splat(1.0f / 720);
    p = p * r + splat(1.0f / 120);
    p = p * r + splat(1.0f / 24);
    p = p * r + splat(1.0f / 6);
    p = p * r + splat(0.5f);
    p = p * r + splat(1.0f);
    p = p * r + splat(1.0f);
    const i32x8 bits = (__builtin_convertvector(n, i32x8) + 127) << 23;
    f32x8 scale;
    memcpy(&scale, &bits, sizeof scale);
    const i32x8 keep = x > splat(-87.0f);
    i32x8 out;
    p *= scale;
    memcpy(&out, &p, sizeof out);
    out &= keep;
    f32x8 result;
    memcpy(&result, &out, sizeof result);
    return result;
}

// row_stats sets lse = log sum exp(l), entropy = lse - sum p l, and
// lse_t = log sum exp(l * inv_temp), for the n logits l. A NaN among them makes lse NaN.
inline void row_stats(const float * l, int32_t n, float inv_temp, float * lse, float * entropy, float * lse_t) {
    const float low = -std::numeric_limits<float>::infinity();
    f32x8 top8 = splat(low);
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        top8 = max8(load8(l + i), top8);
    }
    float top = low;
    for (int j = 0; j < 8; j++) {
        top = std::max(top, top8[j]);
    }
    for (; i < n; i++) {
        top = std::max(top, l[i]);
    }

    f32x8 z = {}, zl = {}, zt = {};
    i32x8 bad = {}; // NaN compares unlike itself; max8 would swallow it
    for (i = 0; i < n; i += 8) {
        f32x8 d;
        if (i + 8 <= n) {
            d = load8(l + i) - splat(top);
        } else {
            d = splat(-1e30f);
            for (int32_t j = i; j < n; j++) {
                d[j - i] = l[j] - top;
            }
        }
        bad |= d != d;
        d = max8(d, splat(-1e30f)); // a masked token's -inf times its probability 0 would be NaN
        const f32x8 e = exp8(d);
        z += e;
        zl += e * d;
        zt += exp8(d * splat(inv_temp));
    }
    float sum = sum8(z);
    for (int j = 0; j < 8; j++) {
        if (bad[j]) {
            sum = std::numeric_limits<float>::quiet_NaN();
        }
    }
    *lse = top + std::log(sum);
    *entropy = std::log(sum) - sum8(zl) / sum;
    *lse_t = top * inv_temp + std::log(sum8(zt));
}

// row_top writes the k largest of n logits by falling value; equal values by rising id.
// Of the maxima of groups of neighbours, k are at least their k-th largest, so the k
// largest logits are all at least that: few groups are left to look at, and few logits
// in them to sort.
inline void row_top(const float * l, int32_t n, int32_t k, int32_t * id, float * logit, top_scratch & scratch) {
    if (k <= 0) {
        return;
    }
    const int32_t group = std::min(16, std::max(1, n / (4 * k)));
    const int32_t groups = n / group; // at least k; what is left over joins the last
    scratch.maxima.resize(groups);
    for (int32_t g = 0; g < groups; g++) {
        const float * p = l + g * group;
        const int32_t size = g == groups - 1 ? n - g * group : group;
        float top;
        if (size == 16) {
            const f32x8 m = max8(load8(p), load8(p + 8));
            top = std::max(std::max(std::max(m[0], m[1]), std::max(m[2], m[3])), std::max(std::max(m[4], m[5]), std::max(m[6], m[7])));
        } else {
            top = *std::max_element(p, p + size);
        }
        scratch.maxima[g] = top;
    }
    scratch.ranked = scratch.maxima;
    std::nth_element(scratch.ranked.begin(), scratch.ranked.begin() + (k - 1), scratch.ranked.end(), std::greater<float>());
    const float least = scratch.ranked[k - 1];

    scratch.ids.clear();
    for (int32_t g = 0; g < groups; g++) {
        if (scratch.maxima[g] < least) {
            continue;
        }
        const int32_t end = g == groups - 1 ? n : (g + 1) * group;
        for (int32_t i = g * group; i < end; i++) {
            if (l[i] >= least) {
                scratch.ids.push_back(i);
            }
        }
    }
    const auto before = [l](int32_t a, int32_t b) { return l[a] > l[b] || (l[a] == l[b] && a < b); };
    std::partial_sort(scratch.ids.begin(), scratch.ids.begin() + k, scratch.ids.end(), before);
    for (int32_t i = 0; i < k; i++) {
        id[i] = scratch.ids[i];
        logit[i] = l[id[i]];
    }
}

} // namespace

#endif
