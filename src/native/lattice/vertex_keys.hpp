// Keys of the vertices of a permutohedral lattice.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>

#include "simd/kernels.hpp"

namespace atrous {

// The d + 1 coordinates of a vertex have the same remainder r modulo d + 1. Its key of 64 bits packs r and
// the cell numbers floor(x_i / (d + 1)): key = r + sum over i of stride_i * cell_i. A neighbor's key is the
// key plus a constant that depends only on the axis and on whether r wraps around. If the ranges of the cells
// allow, the strides form a mixed radix, and keys never collide; otherwise (many dimensions) they are random,
// and two of a million vertices share a key with a probability of 1e-6.
inline constexpr std::uint64_t kRemainders = kMaxDimensions + 1;  // r is in the low eight bits of a key

// Returns the geometry for features between low and high, and vertices up to `reach` cells from the corners
// of a point's simplex. Throws std::overflow_error if the features are too large, or not numbers.
inline LatticeGeometry lattice_geometry(int dimensions, const float* low, const float* high,
                                        std::int32_t reach) {
    const int d = dimensions;
    LatticeGeometry geometry{};
    geometry.dimensions = d;
    const auto common = static_cast<float>((d + 1) * std::sqrt(2.0 / 3.0));
    for (int i = 0; i < d; ++i)
        geometry.scale[i] = static_cast<float>(double{common} * (1.0 / std::sqrt((i + 1.0) * (i + 2.0))));
    double keys = kRemainders;  // number of different keys so far
    for (int i = 0; i < d; ++i) {
        // Coordinate i is -i scaled_(i-1) plus the sum of the scaled features from i on.
        double lowest = 0, highest = 0;
        for (int j = i; j < d; ++j) {
            lowest += low[j] * geometry.scale[j];
            highest += high[j] * geometry.scale[j];
        }
        if (i > 0) {
            lowest -= i * (high[i - 1] * geometry.scale[i - 1]);
            highest -= i * (low[i - 1] * geometry.scale[i - 1]);
        }
        lowest /= d + 1;
        highest /= d + 1;
        // Above, float32 coordinates cannot distinguish the corners of a simplex.
        if (!(std::max(-lowest, highest) < 100000.0))
            throw std::overflow_error("features too large for the lattice");
        // Margin: one cell for the correction of the rounding, one for the simplex, `reach` for its
        // neighbors, and one for floating-point errors.
        geometry.origin[i] = static_cast<std::int32_t>(std::floor(lowest)) - 3 - reach;
        geometry.stride[i] = static_cast<std::uint64_t>(keys);
        keys = std::min(keys * (std::ceil(highest) - std::floor(lowest) + 6 + 2 * reach), 4e18);
    }
    if (keys == 4e18) {
        std::mt19937_64 random;
        for (int i = 0; i < d; ++i) geometry.stride[i] = (random() | 1) * kRemainders;
    }
    geometry.stride[d] = 0;
    for (int i = 0; i < d; ++i) geometry.wrap += geometry.stride[i];
    geometry.wrap -= static_cast<std::uint64_t>(d);
    return geometry;
}

// Returns the key of the next vertex along an axis: a step adds 1 to every coordinate and subtracts d + 1
// from that of the axis.
inline std::uint64_t ahead(const LatticeGeometry& geometry, std::uint64_t key, int axis) {
    // Without a branch, which would be unpredictable.
    const std::uint64_t wraps =
        0 - std::uint64_t{key % kRemainders == static_cast<std::uint64_t>(geometry.dimensions)};
    return key + 1 - geometry.stride[axis] + ((geometry.wrap - 1) & wraps);
}

}  // namespace atrous
