// Gradients of the softmax and of products with gains; part of kernels.cpp.
#pragma once

#include <cstdint>

#include "simd/rows.hpp"

namespace {

using std::int64_t;

void softmax_gradient(int64_t count, const float* q, const float* grad_q, float* grad_scores, float* total,
                      int64_t width) {
    for (int64_t p = 0; p < count; ++p) {
        const int64_t at = p * width;
        float mean = 0.0f;
        for_columns(width, [&](auto columns, int64_t first, auto) {
            using R = Row<decltype(columns)::count>;
            R product = R::load(q + at + first);
            product *= R::load(grad_q + at + first);
            mean += product.sum();
        });
        for_columns(width, [&](auto columns, int64_t first, auto) {
            using R = Row<decltype(columns)::count>;
            const R own = R::load(q + at + first);
            R grad = R::load(grad_q + at + first);
            grad *= own;
            grad.add_scaled(own, -mean);
            grad.store(grad_scores + at + first);
            grad += R::load(total + at + first);
            grad.store(total + at + first);
        });
    }
}

void add_products(int64_t count, const float* left, const float* right, float* sums, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        R total = R::load(sums + first);
        for (int64_t p = 0; p < count; ++p) {
            R product = R::load(left + p * stride + first);
            product *= R::load(right + p * stride + first);
            total += product;
        }
        total.store(sums + first);
    });
}

void add_outer_products(int64_t count, const float* left, const float* right, int64_t labels, float* sums,
                        int64_t width) {
    constexpr int64_t kPoints = 4;  // whose rows stay in registers
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        int64_t p = 0;
        for (; p + kPoints <= count; p += kPoints) {
            const R a = R::load(right + p * stride + first), b = R::load(right + (p + 1) * stride + first);
            const R c = R::load(right + (p + 2) * stride + first),
                    d = R::load(right + (p + 3) * stride + first);
            const float* from = left + p * width;
            for (int64_t label = 0; label < labels; ++label) {
                R sum = R::load(sums + label * stride + first);
                sum.add_scaled(a, from[label]);
                sum.add_scaled(b, from[label + width]);
                sum.add_scaled(c, from[label + 2 * width]);
                sum.add_scaled(d, from[label + 3 * width]);
                sum.store(sums + label * stride + first);
            }
        }
        for (; p < count; ++p) {
            const R row = R::load(right + p * stride + first);
            for (int64_t label = 0; label < labels; ++label) {
                R sum = R::load(sums + label * stride + first);
                sum.add_scaled(row, left[p * width + label]);
                sum.store(sums + label * stride + first);
            }
        }
    });
}

}  // namespace
