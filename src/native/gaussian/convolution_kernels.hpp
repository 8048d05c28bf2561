// Sums over neighbors on a grid, and over all points; part of kernels.cpp.
#pragma once

#include "simd/kernels.hpp"
#include "simd/math.hpp"
#include "simd/rows.hpp"

namespace {

using std::int64_t;

// The convolution of Together neighboring positions: each row read serves all of them.
template <int Together, int Columns>
ATROUS_INLINE void convolve_group(const float* rows, int64_t length, int64_t pitch, int64_t i,
                                  const float* taps, int64_t radius, float* out, int64_t stride) {
    using R = Row<Columns>;
    const int64_t from = i < radius ? 0 : i - radius;
    const int64_t last = i + Together - 1 + radius;
    const int64_t to = last < length ? last : length - 1;
    R sum[Together];
    ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g] = R::zero();
    for (int64_t s = from; s <= to; ++s) {
        const R row = R::load(rows + s * pitch);
        const float* tap = taps + (s - i);
        ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g].add_scaled(row, tap[-g]);
    }
    ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g].store(out + g * stride);
}

void convolve(const float* rows, int64_t length, int64_t pitch, int64_t columns, int64_t begin, int64_t end,
              const float* taps, int64_t radius, float* out, int64_t stride) {
    for_columns(columns, [&](auto together, int64_t first, auto) {
        constexpr int kColumns = decltype(together)::count;
        float* to = out + first;
        int64_t i = begin;
        for (; i + atrous::kRowsAtOnce <= end; i += atrous::kRowsAtOnce, to += atrous::kRowsAtOnce * stride)
            convolve_group<atrous::kRowsAtOnce, kColumns>(rows + first, length, pitch, i, taps, radius, to,
                                                          stride);
        for (; i < end; ++i, to += stride)
            convolve_group<1, kColumns>(rows + first, length, pitch, i, taps, radius, to, stride);
    });
}

template <int Packs>
ATROUS_INLINE void convolve_floats(const float* line, int64_t width, const float* taps, int64_t radius,
                                   Lanes<16>* sums) {
    ATROUS_UNROLL for (int g = 0; g < Packs; ++g) sums[g] = Lanes<16>::all(0.0f);
    for (int64_t t = -radius; t <= radius; ++t) {
        const float* from = line + t * width;
        ATROUS_UNROLL for (int g = 0; g < Packs; ++g) sums[g].add_scaled(Lanes<16>::load(from + 16 * g),
                                                                         taps[t]);
    }
}

void convolve_line(const float* line, int64_t count, int64_t width, const float* taps, int64_t radius,
                   float* out) {
    constexpr int kPacks = kNative >= 8 ? 4 : 2;  // what the registers hold
    Lanes<16> sums[kPacks];
    int64_t i = 0;
    for (; i + 16 * kPacks <= count; i += 16 * kPacks) {
        convolve_floats<kPacks>(line + i, width, taps, radius, sums);
        ATROUS_UNROLL for (int g = 0; g < kPacks; ++g) sums[g].store(out + i + 16 * g);
    }
    for (; i < count; i += 16) {
        convolve_floats<1>(line + i, width, taps, radius, sums);
        float values[16];
        sums[0].store(values);
        for (int64_t l = 0; l < 16 && i + l < count; ++l) out[i + l] = values[l];
    }
}

void brute_force(int dimensions, const float* features, int64_t points, int64_t begin, int64_t end,
                 const float* rows, float* out, int64_t width) {
    constexpr int64_t kRun = 128;  // sums over runs first: N small terms one by one would lose digits
    float kernel[kRun];
    for (int64_t p = begin; p < end; ++p) {
        float* result = out + (p - begin) * width;
        for (int64_t c = 0; c < width; ++c) result[c] = 0.0f;
        for (int64_t j = 0; j < points; j += kRun) {
            const int64_t count = points - j < kRun ? points - j : kRun;
            for (int64_t r = 0; r < kRun; ++r) kernel[r] = 0.0f;
            for (int i = 0; i < dimensions; ++i) {
                const float* feature = features + i * points;
                const float here = feature[p];
                for (int64_t r = 0; r < count; ++r)
                    kernel[r] += (feature[j + r] - here) * (feature[j + r] - here);
            }
            for (int64_t r = 0; r < kRun; ++r) kernel[r] = exp_of_negative(-0.5f * kernel[r]);
            for_columns(width, [&](auto columns, int64_t first, auto) {
                using R = Row<decltype(columns)::count>;
                R sum = R::zero();
                for (int64_t r = 0; r < count; ++r)
                    sum.add_scaled(R::load(rows + (j + r) * width + first), kernel[r]);
                sum += R::load(result + first);
                sum.store(result + first);
            });
        }
    }
}

}  // namespace
