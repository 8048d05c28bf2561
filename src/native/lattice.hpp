// Gaussian filtering over features of any dimension on the permutohedral lattice.
//
// Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "vertex_table.hpp"

namespace atrous {

// Points give their values to the vertices of the simplex around them (splat), the vertices blur along
// the d + 1 axes, the points read the result back (slice).
//
// A vertex has d + 1 coordinates that all leave the same remainder r modulo d + 1, so it is named by the
// cell numbers floor(x_i / (d + 1)) and r: name = r + sum over i of stride_i * cell_i, 64 bits. The name of a
// neighbour is the name plus a constant that depends on the axis only (and on whether r wraps around).
// Where the ranges of the cells allow, the strides make a mixed radix, and names never collide; otherwise
// (many dimensions) they are random, and a million vertices share a name with a chance of 1e-6.
class Lattice final : public Filter {
  public:
    // features: `dimensions` rows of `points` floats, already divided by the standard deviations.
    Lattice(Team& team, const float* features, int dimensions, std::int64_t points)
        : corners_(dimensions + 1), points_(points), loops_(inner_loops()) {
        const double d = dimensions;
        geometry_.dimensions = dimensions;
        for (int i = 0; i < dimensions; ++i)
            geometry_.scale[i] =
                static_cast<float>((d + 1) * std::sqrt(2.0 / 3.0) / std::sqrt((i + 1.0) * (i + 2.0)));

        // Splat, blur and slice together spread a unit with variance 1 along each feature, but with
        // 2^(d+1) times its mass, over (3/2)^(d/2) / sqrt(d+1) of feature volume a vertex. The factor
        // gives the kernel the integral of exp(-|x|^2 / 2).
        const double pi = 3.14159265358979323846;
        scale_ =
            static_cast<float>(std::pow(2.0 * pi / 1.5, d / 2) * std::sqrt(d + 1) / std::pow(2.0, d + 1));

        pack_cells(team, features);
        build(team, features);
    }

    std::int64_t points() const override { return points_; }
    std::uint32_t vertices() const { return vertices_; }
    std::unique_ptr<Filtering> start(std::int64_t width) const override;

  private:
    class Run;
    struct Band;

    // Finds the range of cell numbers along each coordinate and lays out the 64 bits of a name.
    void pack_cells(Team& team, const float* features) {
        const int d = geometry_.dimensions;
        constexpr std::int64_t kGrain = 1 << 14;
        const std::int64_t ranges = (points_ + kGrain - 1) / kGrain;
        std::vector<float> low(static_cast<std::size_t>(ranges) * kMaxDimensions,
                               std::numeric_limits<float>::infinity());
        std::vector<float> high(low.size(), -std::numeric_limits<float>::infinity());
        team.for_ranges(points_, kGrain, [&](std::int64_t begin, std::int64_t end) {
            const std::int64_t at = begin / kGrain * kMaxDimensions;
            loops_.extent(geometry_, features, points_, begin, end, low.data() + at, high.data() + at);
        });

        double names = kRemainders;
        for (int i = 0; i < d; ++i) {
            float lowest = low[static_cast<std::size_t>(i)], highest = high[static_cast<std::size_t>(i)];
            for (std::size_t r = 1; r < static_cast<std::size_t>(ranges); ++r) {
                lowest = std::min(lowest, low[r * kMaxDimensions + static_cast<std::size_t>(i)]);
                highest = std::max(highest, high[r * kMaxDimensions + static_cast<std::size_t>(i)]);
            }
            // Beyond, float32 coordinates cannot tell the corners of a simplex apart.
            if (!(std::max(-lowest, highest) < 100000.0f))
                throw std::overflow_error("features too large for the lattice");
            // The rounding may be corrected by one cell, a simplex reaches another one back, a neighbour of
            // its corners another one.
            geometry_.origin[i] = static_cast<std::int32_t>(std::floor(lowest)) - 3;
            geometry_.stride[i] = static_cast<std::uint64_t>(names);
            names = std::min(names * (std::ceil(highest) - std::floor(lowest) + 6), 4e18);
        }
        if (names == 4e18) {
            std::mt19937_64 random;
            for (int i = 0; i < d; ++i) geometry_.stride[i] = (random() | 1) * kRemainders;
        }
        geometry_.stride[d] = 0;
    }

    void build(Team& team, const float* features);
    void link_neighbours(Team& team, const VertexTable& table, const Buffer<std::uint64_t>& names);

    static constexpr std::uint64_t kRemainders = 32;  // the low five bits of a name
    static constexpr std::size_t kAhead = 8;          // names between asking for their slot and using it

    LatticeGeometry geometry_{};
    int corners_;
    std::int64_t points_;
    std::uint32_t vertices_ = 0;
    float scale_ = 1.0f;
    const InnerLoops& loops_;

    // Vertices count from 1: row 0 holds zeros and stands for every vertex that no point touches.
    Buffer<std::uint32_t> corner_vertex_;  // [point][corner]
    Buffer<float> corner_weight_;
    Buffer<std::uint32_t> vertex_start_;  // of each vertex's list of points, in the points' order
    Buffer<std::uint32_t> vertex_point_;
    Buffer<float> vertex_weight_;
    Buffer<std::uint32_t> neighbours_;  // [axis][vertex][2]
};

// A run of points whose size depends on nothing but the number of points, so that neither does the
// numbering of the vertices: that is the order in which the points first touch them.
struct Lattice::Band {
    std::vector<std::uint64_t> names;   // of the vertices touched here, numbered within the band
    std::vector<std::uint32_t> counts;  // corners of this band's points at each of them
    std::vector<std::uint32_t> vertex;  // their numbers in the whole lattice
    std::vector<std::uint32_t> place;   // where in the vertex's list this band's points begin
};

inline void Lattice::build(Team& team, const float* features) {
    constexpr std::int64_t kBand = 1 << 14;
    const auto corners = static_cast<std::int64_t>(corners_);
    const auto entries = static_cast<std::size_t>(points_ * corners);
    if (entries >= VertexTable::kAbsent) throw std::overflow_error("too many points for one lattice");
    corner_vertex_ = Buffer<std::uint32_t>(entries);
    corner_weight_ = Buffer<float>(entries);
    std::vector<Band> bands(static_cast<std::size_t>((points_ + kBand - 1) / kBand));

    team.for_ranges(points_, kBand, [&](std::int64_t begin, std::int64_t end) {
        Band& band = bands[static_cast<std::size_t>(begin / kBand)];
        VertexTable table(static_cast<std::size_t>(end - begin));
        std::uint64_t keys[(kMaxDimensions + 1) * kSimplexBlock];
        float weights[(kMaxDimensions + 1) * kSimplexBlock];
        std::uint64_t last_key[kMaxDimensions + 1];
        std::uint32_t last_vertex[kMaxDimensions + 1];
        std::fill(last_key, last_key + corners, UINT64_MAX);
        for (std::int64_t b = begin; b < end; b += kSimplexBlock) {
            const int count = static_cast<int>(std::min<std::int64_t>(kSimplexBlock, end - b));
            loops_.simplex(geometry_, features, points_, b, count, keys, weights);
            for (int p = 0; p < count; ++p) {
                for (std::int64_t k = 0; k < corners; ++k) {
                    const std::uint64_t key = keys[k * kSimplexBlock + p];
                    if (key != last_key[k]) {
                        last_key[k] = key;
                        last_vertex[k] = table.insert(key);
                        if (last_vertex[k] == band.names.size()) {
                            band.names.push_back(key);
                            band.counts.push_back(0);
                        }
                    }
                    ++band.counts[last_vertex[k]];
                    const auto entry = static_cast<std::size_t>((b + p) * corners + k);
                    corner_vertex_[entry] = last_vertex[k];
                    corner_weight_[entry] = weights[k * kSimplexBlock + p];
                }
            }
        }
    });

    std::size_t touched = 0;
    for (const Band& band : bands) touched += band.names.size();
    VertexTable table(touched / 2);
    Buffer<std::uint64_t> names(touched + 1);
    Buffer<std::uint32_t> totals(touched + 1);
    for (Band& band : bands) {
        band.vertex.resize(band.names.size());
        band.place.resize(band.names.size());
        for (std::size_t n = 0; n < band.names.size(); ++n) {
            if (n + kAhead < band.names.size()) table.prefetch(band.names[n + kAhead]);
            const std::uint32_t vertex = table.insert(band.names[n]) + 1;
            if (vertex == table.size() && vertex > vertices_) {
                vertices_ = vertex;
                names[vertex] = band.names[n];
                totals[vertex] = 0;
            }
            band.vertex[n] = vertex;
            band.place[n] = totals[vertex];
            totals[vertex] += band.counts[n];
        }
    }

    vertex_start_ = Buffer<std::uint32_t>(std::size_t{vertices_} + 2);
    vertex_start_[0] = vertex_start_[1] = 0;
    for (std::size_t v = 1; v <= vertices_; ++v) vertex_start_[v + 1] = vertex_start_[v] + totals[v];
    vertex_point_ = Buffer<std::uint32_t>(entries);
    vertex_weight_ = Buffer<float>(entries);
    team.for_ranges(points_, kBand, [&](std::int64_t begin, std::int64_t end) {
        Band& band = bands[static_cast<std::size_t>(begin / kBand)];
        for (std::size_t n = 0; n < band.names.size(); ++n) band.place[n] += vertex_start_[band.vertex[n]];
        for (std::int64_t p = begin; p < end; ++p) {
            for (std::int64_t k = 0; k < corners; ++k) {
                const auto entry = static_cast<std::size_t>(p * corners + k);
                const std::uint32_t local = corner_vertex_[entry];
                corner_vertex_[entry] = band.vertex[local];
                const std::uint32_t place = band.place[local]++;
                vertex_point_[place] = static_cast<std::uint32_t>(p);
                vertex_weight_[place] = corner_weight_[entry];
            }
        }
    });
    link_neighbours(team, table, names);
}

// Looks up the neighbour ahead along each axis, and writes both directions: each entry has one writer.
inline void Lattice::link_neighbours(Team& team, const VertexTable& table,
                                     const Buffer<std::uint64_t>& names) {
    const int d = geometry_.dimensions;
    const std::size_t axis_size = 2 * (std::size_t{vertices_} + 1);
    neighbours_ = Buffer<std::uint32_t>(static_cast<std::size_t>(corners_) * axis_size);
    neighbours_.zero();
    std::uint64_t all = 0;
    for (int i = 0; i < d; ++i) all += geometry_.stride[i];
    // One step adds 1 to every coordinate and takes d + 1 off the axis' own.
    const auto ahead = [&](std::uint64_t name, int axis) {
        const bool wraps = name % kRemainders == static_cast<std::uint64_t>(d);
        return name + (wraps ? all - static_cast<std::uint64_t>(d) : 1) - geometry_.stride[axis];
    };
    team.for_ranges(vertices_, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t v = begin + 1; v <= end; ++v) {
            if (v + 2 <= end)
                for (int axis = 0; axis <= d; ++axis)
                    table.prefetch(ahead(names[static_cast<std::size_t>(v + 2)], axis));
            for (int axis = 0; axis <= d; ++axis) {
                const std::uint32_t found = table.find(ahead(names[static_cast<std::size_t>(v)], axis));
                if (found == VertexTable::kAbsent) continue;
                std::uint32_t* links = neighbours_.data() + static_cast<std::size_t>(axis) * axis_size;
                links[2 * v] = found + 1;
                links[2 * (std::size_t{found} + 1) + 1] = static_cast<std::uint32_t>(v);
            }
        }
    });
}

class Lattice::Run final : public Filtering {
  public:
    Run(const Lattice& lattice, std::int64_t width) : lattice_(lattice), width_(width) {
        const std::size_t size = (std::size_t{lattice.vertices_} + 1) * static_cast<std::size_t>(width);
        values_ = Buffer<float>(size);
        other_ = Buffer<float>(size);
        std::fill(values_.data(), values_.data() + width, 0.0f);
        std::fill(other_.data(), other_.data() + width, 0.0f);
    }

    void take(Team& team, const float* rows) override {
        const std::int64_t vertices = lattice_.vertices_;
        const std::int64_t grain = 2 * chunk_of_pixels(width_);
        team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
            lattice_.loops_.gather(begin + 1, end + 1, lattice_.vertex_start_.data(),
                                   lattice_.vertex_point_.data(), lattice_.vertex_weight_.data(), rows,
                                   values_.data(), width_);
        });
        for (int axis = 0; axis < lattice_.corners_; ++axis) {
            const std::uint32_t* links = lattice_.neighbours_.data() + 2 * axis * (vertices + 1);
            team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                lattice_.loops_.blur(begin + 1, end + 1, links, values_.data(), other_.data(), width_);
            });
            std::swap(values_, other_);
        }
    }

    const float* read(std::int64_t begin, std::int64_t end, float* scratch) const override {
        const std::int64_t corner = begin * lattice_.corners_;
        lattice_.loops_.slice(end - begin, lattice_.corners_, lattice_.corner_vertex_.data() + corner,
                              lattice_.corner_weight_.data() + corner, lattice_.scale_, values_.data(),
                              scratch, width_);
        return scratch;
    }

  private:
    const Lattice& lattice_;
    std::int64_t width_;
    Buffer<float> values_, other_;
};

inline std::unique_ptr<Filtering> Lattice::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
