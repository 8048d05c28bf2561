// How the vertices of a permutohedral lattice are named.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>

#include "simd/kernels.hpp"

namespace atrous {

// A vertex has d + 1 coordinates that all leave the same remainder r modulo d + 1, so it is named by the
// cell numbers floor(x_i / (d + 1)) and r: name = r + sum over i of stride_i * cell_i, 64 bits. The name of a
// neighbor is the name plus a constant that depends on the axis only (and on whether r wraps around).
// Where the ranges of the cells allow, the strides make a mixed radix, and names never collide; otherwise
// (many dimensions) they are random, and a million vertices share a name with a chance of 1e-6.
inline constexpr std::uint64_t kRemainders = kMaxDimensions + 1;  // the low eight bits of a name

// For features between low and high, and vertices up to `reach` cells from the corners of a point's simplex.
// Throws std::overflow_error for features that are too large, or no numbers.
inline LatticeGeometry lattice_geometry(int dimensions, const float* low, const float* high,
                                        std::int32_t reach) {
    const int d = dimensions;
    LatticeGeometry geometry{};
    geometry.dimensions = d;
    const auto common = static_cast<float>((d + 1) * std::sqrt(2.0 / 3.0));
    for (int i = 0; i < d; ++i)
        geometry.scale[i] = static_cast<float>(double{common} * (1.0 / std::sqrt((i + 1.0) * (i + 2.0))));
    double names = kRemainders;
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
        // Beyond, float32 coordinates cannot tell the corners of a simplex apart.
        if (!(std::max(-lowest, highest) < 100000.0))
            throw std::overflow_error("features too large for the lattice");
        // The rounding may be corrected by one cell, a simplex reaches another one back, neighbors of its
        // corners `reach` more; one more for rounding.
        geometry.origin[i] = static_cast<std::int32_t>(std::floor(lowest)) - 3 - reach;
        geometry.stride[i] = static_cast<std::uint64_t>(names);
        names = std::min(names * (std::ceil(highest) - std::floor(lowest) + 6 + 2 * reach), 4e18);
    }
    if (names == 4e18) {
        std::mt19937_64 random;
        for (int i = 0; i < d; ++i) geometry.stride[i] = (random() | 1) * kRemainders;
    }
    geometry.stride[d] = 0;
    for (int i = 0; i < d; ++i) geometry.wrap += geometry.stride[i];
    geometry.wrap -= static_cast<std::uint64_t>(d);
    return geometry;
}

// The name of the next vertex along an axis: one step adds 1 to every coordinate and takes d + 1 off the
// axis' own.
inline std::uint64_t ahead(const LatticeGeometry& geometry, std::uint64_t name, int axis) {
    // Without a branch, since remainders follow no order.
    const std::uint64_t wraps =
        0 - std::uint64_t{name % kRemainders == static_cast<std::uint64_t>(geometry.dimensions)};
    return name + 1 - geometry.stride[axis] + ((geometry.wrap - 1) & wraps);
}

}  // namespace atrous
