// Simplex of the lattice around a point. Compiled once for each instruction set, without fused multiply-add,
// so that all sets find the same vertices even if a point is on the border of two simplices.
#include "lattice/embedding.hpp"

#include "simd/kernels.hpp"
#include "simd/math.hpp"

namespace {

using std::int32_t;
using std::int64_t;
using std::uint64_t;

using atrous::FeatureBlock;
using atrous::kMaxDimensions;
using atrous::kSimplexBlock;
using atrous::LatticeGeometry;

template <int D>
struct BlockOf {
    float at[D + 1][kSimplexBlock];
};

// The points' coordinates on the hyperplane x_0 + .. + x_d = 0 (Adams et al. 2010, section 3.1).
template <int D, class Block>
ATROUS_INLINE void elevate(const LatticeGeometry& lattice, const FeatureBlock& features, int count,
                           Block& elevated) {
    const int d = D > 0 ? D : lattice.dimensions;
    float sum[kSimplexBlock] = {};
    for (int j = d; j > 0; --j) {
        float scaled[kSimplexBlock];
        for (int p = 0; p < count; ++p) scaled[p] = features.at[j - 1][p];
        for (int p = count; p < kSimplexBlock; ++p) scaled[p] = scaled[count - 1];
        for (int p = 0; p < kSimplexBlock; ++p) {
            scaled[p] *= lattice.scale[j - 1];
            elevated.at[j][p] = sum[p] - static_cast<float>(j) * scaled[p];
            sum[p] += scaled[p];
        }
    }
    for (int p = 0; p < kSimplexBlock; ++p) elevated.at[0][p] = sum[p];
}

}  // namespace

namespace atrous::ATROUS_INSTRUCTION_SET {

// Keys of the vertices of the simplices around `count` points, and the points' barycentric weights (Adams et
// al. 2010, sections 3.1 and 3.2). D: the number of dimensions if it is a common one, else 0.
template <int D>
ATROUS_INLINE void simplex_of(const LatticeGeometry& lattice, const FeatureBlock& features, int count,
                              uint64_t* keys, float* weights) {
    const int d = D > 0 ? D : lattice.dimensions;
    const float side = static_cast<float>(d + 1), inverse = 1.0f / side;
    constexpr int kMost = D > 0 ? D : kMaxDimensions;
    BlockOf<kMost> elevated, cell, difference;
    int32_t rank[kMost + 1][kSimplexBlock];
    float total[kSimplexBlock] = {};

    // Round each coordinate to the nearest multiple of d + 1, the cell; total counts by how many cells the
    // rounded point is off the hyperplane.
    elevate<D>(lattice, features, count, elevated);
    for (int i = 0; i <= d; ++i)
        for (int p = 0; p < kSimplexBlock; ++p) {
            cell.at[i][p] = nearest(elevated.at[i][p] * inverse);
            difference.at[i][p] = elevated.at[i][p] - cell.at[i][p] * side;
            total[p] += cell.at[i][p];
            rank[i][p] = 0;
        }
    // Rank the differences in descending order: the order of the ranks determines the simplex.
    for (int i = 0; i < d; ++i)
        for (int j = i + 1; j <= d; ++j)
            for (int p = 0; p < kSimplexBlock; ++p) {
                const int32_t less = difference.at[i][p] < difference.at[j][p] ? 1 : 0;
                rank[i][p] += less;
                rank[j][p] += 1 - less;
            }
    // Return to the hyperplane: move `total` coordinates, those with the extreme ranks, by one cell.
    for (int i = 0; i <= d; ++i)
        for (int p = 0; p < kSimplexBlock; ++p) {
            const int32_t shifted = rank[i][p] + static_cast<int32_t>(total[p]);
            const int32_t wrap = shifted < 0 ? 1 : shifted > d ? -1 : 0;
            rank[i][p] = shifted + wrap * (d + 1);
            cell.at[i][p] += static_cast<float>(wrap);
            difference.at[i][p] = (elevated.at[i][p] - cell.at[i][p] * side) * inverse;
        }

    // The barycentric weights are the gaps between neighboring differences, in the order of the ranks.
    BlockOf<kMost> share;
    float first[kSimplexBlock] = {}, sorted[kSimplexBlock], previous[kSimplexBlock] = {};
    for (int k = 0; k <= d; ++k) {
        for (int p = 0; p < kSimplexBlock; ++p) sorted[p] = 0.0f;
        for (int i = 0; i <= d; ++i)
            for (int p = 0; p < kSimplexBlock; ++p)
                sorted[p] += rank[i][p] == d - k ? difference.at[i][p] : 0.0f;
        for (int p = 0; p < kSimplexBlock; ++p) {
            share.at[k][p] = sorted[p] - previous[p];
            previous[p] = sorted[p];
            first[p] = k == 0 ? sorted[p] : first[p];
        }
    }
    for (int p = 0; p < kSimplexBlock; ++p) {
        share.at[0][p] = first[p] + (1.0f - previous[p]);
    }

    for (int p = 0; p < count; ++p)
        for (int k = 0; k <= d; ++k) weights[p * (d + 1) + k] = share.at[k][p];

    // The key of the vertex with remainder 0; from a vertex to the next, the remainder grows by 1 and the
    // coordinate with the next lower rank decreases by one cell.
    for (int p = 0; p < count; ++p) {
        uint64_t stride_of_rank[kMost + 1];
        uint64_t key = 0;
        for (int i = 0; i < d; ++i) {
            const int32_t number = static_cast<int32_t>(cell.at[i][p]) - lattice.origin[i];
            key += static_cast<uint64_t>(static_cast<int64_t>(number)) * lattice.stride[i];
        }
        for (int i = 0; i <= d; ++i) stride_of_rank[rank[i][p]] = lattice.stride[i];
        keys[p] = key;
        for (int k = 1; k <= d; ++k) {
            key += 1 - stride_of_rank[d - k + 1];
            keys[k * kSimplexBlock + p] = key;
        }
    }
}

void simplex(const LatticeGeometry& lattice, const FeatureBlock& features, int count, uint64_t* keys,
             float* weights) {
    if (lattice.dimensions == 5) return simplex_of<5>(lattice, features, count, keys, weights);
    if (lattice.dimensions == 2) return simplex_of<2>(lattice, features, count, keys, weights);
    simplex_of<0>(lattice, features, count, keys, weights);
}

}  // namespace atrous::ATROUS_INSTRUCTION_SET
