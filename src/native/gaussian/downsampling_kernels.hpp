// Downsampling to every second point and its transpose; part of kernels.cpp.
#pragma once

#include "simd/kernels.hpp"
#include "simd/rows.hpp"

namespace {

using std::int64_t;

void mix(int count, const float* const* all_lines, const float* all_factors, int64_t columns, float* out) {
    const auto with = [&](auto known) {
        constexpr int kKnown = decltype(known)::count;
        const int n = kKnown > 0 ? kKnown : count;
        const float* own_lines[kKnown + 1];
        float own_factors[kKnown + 1];
        for (int l = 0; l < kKnown; ++l) {
            own_lines[l] = all_lines[l];
            own_factors[l] = all_factors[l];
        }
        const float* const* lines = kKnown > 0 ? own_lines : all_lines;
        const float* factors = kKnown > 0 ? own_factors : all_factors;
        for_columns(columns, [&](auto piece, int64_t first, auto) {
            using R = Row<decltype(piece)::count>;
            R sum = R::zero();
            ATROUS_UNROLL for (int l = 0; l < n; ++l) sum.add_scaled(R::load(lines[l] + first), factors[l]);
            sum.store(out + first);
        });
    };
    if (count == 9) return with(Columns<9>{});
    if (count == 5) return with(Columns<5>{});
    if (count == 4) return with(Columns<4>{});
    if (count == 2) return with(Columns<2>{});
    with(Columns<0>{});
}

static_assert(atrous::kHalvingReach == 4);

void halve(const float* line, int64_t count, int64_t width, const float* taps, float* out) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t i = 0; i < count; ++i) {
            const float* from = line + 2 * i * stride + first;
            R sum = R::load(from + 4 * stride);
            sum *= taps[0];
            ATROUS_UNROLL for (int t = 1; t <= 4; ++t) {
                R both = R::load(from + (4 - t) * stride);
                both += R::load(from + (4 + t) * stride);
                sum.add_scaled(both, taps[t]);
            }
            sum.store(out + i * stride + first);
        }
    });
}

void widen(const float* cells, bool odd, int64_t count, int64_t width, const float* taps, float* out) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const auto even_row = [&](const float* from, float* to) {  // cells 0 to 4 around
            R ends = R::load(from), near = R::load(from + stride), sum = R::load(from + 2 * stride);
            ends += R::load(from + 4 * stride);
            near += R::load(from + 3 * stride);
            sum *= taps[0];
            sum.add_scaled(near, taps[2]);
            sum.add_scaled(ends, taps[4]);
            sum.store(to);
        };
        const auto odd_row = [&](const float* from, float* to) {  // cells 0 to 3 around
            R far = R::load(from), sum = R::load(from + stride);
            far += R::load(from + 3 * stride);
            sum += R::load(from + 2 * stride);
            sum *= taps[1];
            sum.add_scaled(far, taps[3]);
            sum.store(to);
        };
        const float* from = cells + first;
        float* to = out + first;
        int64_t p = 0;
        if (odd && count > 0) {
            odd_row(from, to);
            p = 1;
        }
        for (; p + 1 < count; p += 2, from += stride) {
            even_row(from, to + p * stride);
            odd_row(from + stride, to + (p + 1) * stride);
        }
        if (p < count) even_row(from, to + p * stride);
    });
}

}  // namespace
