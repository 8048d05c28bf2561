// Splat, slice and column gather; part of kernels.cpp.
#pragma once

#include "lattice/vertex_kernels.hpp"

namespace {

using std::int32_t;
using std::int64_t;
using std::uint16_t;
using std::uint32_t;

void splat(int64_t points, int corners, const uint16_t* targets, const float* weights, const float* factors,
           const float* rows, float* sums, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for_corners(corners, [&](auto known) {
            const int count = known.count > 0 ? known.count : corners;
            for (int64_t p = 0; p < points; ++p) {
                R row = R::load(rows + p * stride + first);
                if (factors != nullptr) row *= factors[p];
                ATROUS_UNROLL for (int k = 0; k < count; ++k) {
                    float* to = sums + targets[p * count + k] * stride + first;
                    R sum = R::load(to);
                    sum.add_scaled(row, weights[p * count + k]);
                    sum.store(to);
                }
            }
        });
    });
}

void gather_columns(int64_t count, const float* rows, int64_t width, const int32_t* source_columns,
                    int64_t chosen, float padding, float* out, int64_t out_width) {
    for_count(chosen, [&](auto known) {
        constexpr int kKnown = decltype(known)::count;
        const int64_t n = kKnown > 0 ? kKnown : chosen;
        bool all_present = true;
        for (int64_t c = 0; c < n; ++c) all_present = all_present && source_columns[c] >= 0;
        if (all_present) {
            for (int64_t i = 0; i < count; ++i) {
                float* to = out + i * out_width;
                for (int64_t c = 0; c < n; ++c) to[c] = rows[i * width + source_columns[c]];
                for (int64_t c = n; c < out_width; ++c) to[c] = padding;
            }
            return;
        }
        for (int64_t i = 0; i < count; ++i) {
            float* to = out + i * out_width;
            for (int64_t c = 0; c < out_width; ++c) to[c] = c < n ? 0.0f : padding;
        }
        for (int64_t c = 0; c < n; ++c)
            for (int64_t i = 0; source_columns[c] >= 0 && i < count; ++i)
                out[i * out_width + c] = rows[i * width + source_columns[c]];
    });
}

void slice(int64_t points, int corners, const uint16_t* sources, const float* weights, const float* rows,
           float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for_corners(corners, [&](auto known) {
            const int count = known.count > 0 ? known.count : corners;
            for (int64_t p = 0; p < points; ++p) {
                R sum = R::zero();
                ATROUS_UNROLL for (int k = 0; k < count; ++k) sum.add_scaled(
                    R::load(rows + sources[p * count + k] * stride + first), weights[p * count + k]);
                sum.store(out + p * stride + first);
            }
        });
    });
}

}  // namespace
