// Logistic function of score differences (softmax of two labels); part of kernels.cpp.
#pragma once

#include "mean_field/softmax_kernels.hpp"
#include "simd/kernels.hpp"
#include "simd/math.hpp"

namespace {

void logistic(int64_t count, const float* scores, float* first, float* second, atrous::PairRange* range) {
    using P = Lanes<16>;
    float own[kRun], other[kRun];
    const P zero = P::all(0.0f);
    // min(q) = -max(-q), so one reduction serves both.
    P lowest = P::all(range == nullptr ? 0.0f : -range->lowest);
    P highest = P::all(range == nullptr ? 0.0f : range->highest);
    for (int64_t b = 0; b < count; b += kRun) {
        const int64_t run = count - b < kRun ? count - b : kRun, filled = whole(run);
        for (int64_t p = 0; p < run; ++p) {
            const float score = scores[b + p];
            const float e = exp_of_negative(score < 0.0f ? score : -score);
            const float q_larger = 1.0f / (1.0f + e), q_smaller = e * q_larger;
            own[p] = score < 0.0f ? q_smaller : q_larger;
            other[p] = score < 0.0f ? q_larger : q_smaller;
        }
        for (int64_t p = 0; p < run; ++p) first[b + p] = own[p];
        for (int64_t p = 0; second != nullptr && p < run; ++p) second[b + p] = other[p];
        if (range == nullptr) continue;
        for (int64_t p = run; p < filled; ++p) own[p] = own[run - 1];
        for (int64_t p = 0; p < filled; p += 16) {
            const P q = P::load(own + p);
            highest = larger(highest, q);
            lowest = larger(lowest, zero - q);
        }
    }
    if (range == nullptr) return;
    float lanes[2][16];
    highest.store(lanes[0]);
    lowest.store(lanes[1]);
    for (int l = 0; l < 16; ++l) {
        range->highest = lanes[0][l] > range->highest ? lanes[0][l] : range->highest;
        range->lowest = -lanes[1][l] < range->lowest ? -lanes[1][l] : range->lowest;
    }
}

}  // namespace
