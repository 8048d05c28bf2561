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

// Pairwise term of one kernel: scores += post_scale * (gains . K (pre_scale * Q)), where pre_scale and
// post_scale scale points (normalization and weight), and the gains, the negated compatibility, labels.
struct Term {
    std::shared_ptr<const Filter> filter;
    std::vector<float> pre_scale;  // empty: ones
    std::vector<float> post_scale;
    std::vector<float> gains;         // one for each label, or a matrix [from label][to label]; empty: ones
    std::optional<float> total = {};  // post_scale * (K pre_scale), if known and the same for all points
    // Maximum of its message, if known.
    float weight = std::numeric_limits<float>::infinity();
    bool float16 = true;  // whether K may be computed in 16 bits; too inexact for large messages
};

// Unary term: energies or probabilities of `labels` labels at each point, with any strides.
struct Unary {
    const float* values;
    std::int64_t labels, points;
    std::int64_t label_stride, point_stride;
    bool energies;
    float lowest, highest;  // valid values
    // Q is written to the same planes, of consecutive values, which may be zeroed once the scores are
    // computed.
    bool in_place = false;
};

struct Settings {
    int iterations = 10;
    // A label is pruned if its ratio to each point's most probable label is below `prune` everywhere; 0
    // disables pruning. See PruningBounds.
    float prune = 0.0f;
    float tolerance = 0.0f;  // stop after a step that changes no probability by more; 0 takes all steps
    bool trace = false;      // report energy and entropy
};

// Statistics of an inference.
struct Report {
    int steps = 0;
    std::vector<std::int32_t> active_labels;  // labels that were not pruned
    std::vector<double> energy, entropy;      // before the first step and after each, if traced
};

// Adds a point's part of the expected energy, sum Q unary - 1/2 sum Q message, and of the entropy of Q. own:
// the negated unary term; all: the same plus the messages.
inline void add_energy(std::size_t labels, const float* q, const float* own, const float* all, double& energy,
                       double& entropy) {
    for (std::size_t c = 0; c < labels; ++c) {
        energy -= 0.5 * q[c] * (double{own[c]} + all[c]);
        if (q[c] > 0) entropy -= q[c] * std::log(double{q[c]});
    }
}

}  // namespace atrous
