// Logistic function of score differences (softmax of two labels); part of kernels.cpp.
#pragma once

#include "mean_field/softmax_kernels.hpp"
#include "simd/kernels.hpp"
#include "simd/math.hpp"

namespace {

void logistic(int64_t count, const float* scores, float* first, float* second, atrous::PairRange* range) {
    using P = Lanes<16>;
    float q_first[kRun], q_second[kRun];
    const P zero = P::all(0.0f);
    // min(q) = -max(-q), so one reduction serves both.
    P lowest = P::all(range == nullptr ? 0.0f : -range->lowest);
    P highest = P::all(range == nullptr ? 0.0f : range->highest);
    for (int64_t b = 0; b < count; b += kRun) {
        const int64_t run = count - b < kRun ? count - b : kRun, filled = padded_run(run);
        for (int64_t p = 0; p < run; ++p) {
            const float score = scores[b + p];
            const float e = exp_of_negative(score < 0.0f ? score : -score);
            const float q_larger = 1.0f / (1.0f + e), q_smaller = e * q_larger;
            q_first[p] = score < 0.0f ? q_smaller : q_larger;
            q_second[p] = score < 0.0f ? q_larger : q_smaller;
        }
        for (int64_t p = 0; p < run; ++p) first[b + p] = q_first[p];
        for (int64_t p = 0; second != nullptr && p < run; ++p) second[b + p] = q_second[p];
        if (range == nullptr) continue;
        for (int64_t p = run; p < filled; ++p) q_first[p] = q_first[run - 1];
        for (int64_t p = 0; p < filled; p += 16) {
            const P q = P::load(q_first + p);
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
