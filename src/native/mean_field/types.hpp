// Inputs and outputs of a mean field.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "filter.hpp"

namespace atrous {

// One kernel's part in the CRF: scores += post_scale * (G . K (pre_scale * Q)), where pre_scale and
// post_scale scale pixels (normalization and weight) and G, minus the compatibility, mixes labels.
struct Term {
    std::shared_ptr<const Filter> filter;
    std::vector<float> pre_scale;  // empty: ones
    std::vector<float> post_scale;
    std::vector<float> compatibility;  // one for each label, or a matrix [from label][to label]; empty: ones
    std::optional<float> total =
        {};  // post_scale * (K pre_scale), if it is known and the same for all points
    // The most that its message can be, if that is known.
    float weight = std::numeric_limits<float>::infinity();
    bool float16 = true;  // whether K may be computed in 16 bits: not if its messages are large
};

// What is known of each point alone: energies, or probabilities, of `labels` labels, wherever they lie.
struct Unary {
    const float* values;
    std::int64_t labels, points;
    std::int64_t label_stride, point_stride;
    bool energies;
    float lowest, highest;  // of values that can be used
    bool consumed = false;  // planes of consecutive values that may be written to, and need not be kept
};

struct Settings {
    int iterations = 10;
    // A label whose ratio to the point's likeliest is under `prune` everywhere leaves the inference; 0 keeps
    // all. See PruningBounds.
    float prune = 0.0f;
    float tolerance = 0.0f;  // steps that change no probability by more are the last
    bool trace = false;
};

// What happened.
struct Report {
    int steps = 0;
    std::vector<std::int32_t> kept;       // labels that took part to the end
    std::vector<double> energy, entropy;  // after each step, the first before any; only if traced
};

// Adds a point's part of the expected energy, sum Q unary - 1/2 sum Q message, and of the entropy of Q; own:
// minus the unary term, all: with the messages.
inline void add_energy(std::size_t labels, const float* q, const float* own, const float* all, double& energy,
                       double& entropy) {
    for (std::size_t c = 0; c < labels; ++c) {
        energy -= 0.5 * q[c] * (double{own[c]} + all[c]);
        if (q[c] > 0) entropy -= q[c] * std::log(double{q[c]});
    }
}

}  // namespace atrous
