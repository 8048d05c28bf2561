// Gaussian filtering over features of any dimension on the permutohedral lattice.
//
// Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "lattice/blur_order.hpp"
#include "lattice/features.hpp"
#include "lattice/stencil.hpp"
#include "lattice/tile_table.hpp"
#include "lattice/vertex_keys.hpp"
#include "lattice/vertex_table.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// The lattice would have more rows than its user allows.
class LatticeTooLarge : public std::exception {
  public:
    const char* what() const noexcept override { return "more rows than allowed"; }
};

// Points splat their values to the vertices of the simplex around them, the vertices blur along the d + 1
// axes, and the points slice the result.
//
// Each tile of points numbers the vertices that it touches, and splats to and slices from its own rows, which
// stay in cache. The rows that tiles have for one vertex are summed.
class Lattice final : public Filter {
  public:
    // The vertices that a tile touches are numbered in 16 bits.
    static constexpr std::int64_t most_dimensions(std::int64_t tile_points) {
        return std::min<std::int64_t>(0xFFFF / tile_points - 1, kMaxDimensions);
    }

    // stencil: replaces the blurs and their factor, unless null. Throws LatticeTooLarge as soon as the tiles
    // have more than `most_rows` rows together. origin: adds the vertices around features of 0 to the blurs.
    Lattice(ThreadPool& pool, const Features& features, const Stencil* stencil = nullptr,
            std::size_t most_rows = SIZE_MAX, bool origin = false)
        : corners_(features.dimensions() + 1), tiles_(features.tiles()), origin_(origin), loops_(kernels()) {
        const double d = features.dimensions();
        // Splat, blur and slice together spread a unit with variance 1 along each feature, but with
        // 2^(d+1) times its mass, over (3/2)^(d/2) / sqrt(d+1) of feature volume a vertex. The factor
        // gives the kernel the integral of exp(-|x|^2 / 2).
        const double pi = 3.14159265358979323846;
        scale_ =
            static_cast<float>(std::pow(2.0 * pi / 1.5, d / 2) * std::sqrt(d + 1) / std::pow(2.0, d + 1));

        if (stencil != nullptr) scale_ = 1.0f;
        float low[kMaxDimensions], high[kMaxDimensions];
        features.range(pool, low, high);
        for (int i = 0; origin && i < features.dimensions(); ++i) {
            low[i] = std::min(low[i], 0.0f);
            high[i] = std::max(high[i], 0.0f);
        }
        geometry_ =
            lattice_geometry(features.dimensions(), low, high, stencil == nullptr ? 1 : stencil->reach());
        build(pool, features, stencil, most_rows);
    }

    const Tiles& tiles() const override { return tiles_; }
    std::uint32_t vertices() const { return vertices_; }
    // Number of rows of all tiles: a vertex has one in each tile that touches it.
    std::size_t rows() const { return row_vertex_.size(); }
    std::unique_ptr<Filtering> start(std::int64_t width, bool probabilities) const override;
    // If vertices are missing, the blurs along two axes do not commute.
    bool symmetric() const override { return blur_orders_.empty(); }
    std::unique_ptr<Filtering> start_transposed(std::int64_t width) const override;
    bool takes_tiles() const override { return true; }
    std::unique_ptr<FilterState> start_tiles(std::int64_t width, bool float16,
                                             const float* pre_scale) const override;

  private:
    class Vertices;
    class Run;
    class TileState;

    // The vertices that one tile touches, until they are numbered.
    struct Touched {
        std::vector<std::uint64_t> keys;
        std::vector<float> masses;  // the sums of weights, vertex by vertex
        bool ready = false;
    };

    void build(ThreadPool& pool, const Features& features, const Stencil* stencil, std::size_t most_rows);
    void touch(std::int64_t tile, const Features& features, TileTable& table);
    std::vector<float> masses(std::int64_t tile, std::size_t rows) const;
    void bound_halves(const std::vector<float>& masses);
    void list_rows();
    void link(const VertexTable& table, const KeyFilter& present, std::size_t begin, std::size_t end,
              std::vector<Buffer<std::uint32_t>>& ahead_of) const;

    std::size_t tile_rows(std::int64_t tile) const {
        return tile_start_[static_cast<std::size_t>(tile) + 1] - tile_start_[static_cast<std::size_t>(tile)];
    }

    const std::uint32_t* vertices_of(std::int64_t tile) const {
        return row_vertex_.data() + tile_start_[static_cast<std::size_t>(tile)];
    }

    static constexpr double kLargestHalf = 60000;  // 65504, and some for rounding
    static constexpr std::size_t kAhead = 8;       // keys between the prefetch of a slot and its use

    LatticeGeometry geometry_{};
    int corners_;
    Tiles tiles_;
    bool origin_;
    std::uint32_t vertices_ = 0;
    float scale_ = 1.0f;
    float factor_of_halves_ = 1.0f;  // factor of vertices of 16 bits
    const Kernels& loops_;

    // Point by point in the order of the tiles.
    Buffer<std::uint16_t> corner_row_;  // [point][corner], counting the rows of the tile
    Buffer<float> corner_weight_;
    // Vertices count from 1: row 0 holds zeros and represents every vertex that no point touches.
    std::vector<std::size_t> tile_start_;    // of each tile's rows
    std::vector<std::uint32_t> row_vertex_;  // of each tile's rows
    Buffer<std::uint32_t> first_row_;        // of each vertex, in the tiles' order
    Buffer<std::uint32_t> others_start_;     // of each vertex' further rows, in the lists of them all
    Buffer<std::uint32_t> others_vertex_, others_row_;
    std::vector<BlurOrder> blur_orders_;  // along each axis
    StencilLinks around_;                 // instead of the chains
    std::size_t most_rows_ = 0;           // of a tile
};

// Finds the simplices around a tile's points and numbers the vertices that they touch.
inline void Lattice::touch(std::int64_t tile, const Features& features, TileTable& table) {
    const int corners = corners_;
    FeatureBlock block;
    std::uint64_t keys[(kMaxDimensions + 1) * kSimplexBlock];
    std::int64_t at = tiles_.offset(tile) * corners;
    tiles_.segments(tile, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; b += kSimplexBlock) {
            const int count = static_cast<int>(std::min<std::int64_t>(kSimplexBlock, end - b));
            features.read(b, count, block);
            loops_.simplex(geometry_, block, count, keys, corner_weight_.data() + at);
            std::uint16_t* rows = corner_row_.data() + at;
            for (int p = 0; p < count; ++p)
                for (int k = 0; k < corners; ++k) *rows++ = table.insert(keys[k * kSimplexBlock + p]);
            at += count * corners;
        }
    });
    if (!origin_ || tile != tiles_.count() - 1) return;
    float weights[kMaxDimensions + 1];
    loops_.simplex(geometry_, FeatureBlock{}, 1, keys, weights);
    for (int k = 0; k < corners; ++k) table.insert(keys[k * kSimplexBlock]);
}

// Tiles are computed in any order, but their vertices are numbered in the tiles' order, as early as possible.
inline void Lattice::build(ThreadPool& pool, const Features& features, const Stencil* stencil,
                           std::size_t most_rows) {
    const auto entries = static_cast<std::size_t>(points() * corners_);
    if (entries >= VertexTable::kAbsent) throw std::overflow_error("too many points for one lattice");
    corner_row_ = Buffer<std::uint16_t>(entries);
    corner_weight_ = Buffer<float>(entries);

    std::vector<Touched> touched(static_cast<std::size_t>(tiles_.count()));
    std::vector<TileTable> tables(static_cast<std::size_t>(pool.size()));
    VertexTable table(static_cast<std::size_t>(points() / 4));
    std::vector<float> of_vertex(1, 0.0f);  // masses
    tile_start_.assign(1, 0);
    row_vertex_.reserve(static_cast<std::size_t>(points()));  // noise has more
    const auto number = [&](Touched& tile) {
        const std::size_t rows = tile.keys.size();
        for (std::size_t row = 0; row < rows; ++row) {
            if (row + kAhead < rows) table.prefetch(tile.keys[row + kAhead]);
            const std::uint32_t vertex = table.insert(tile.keys[row]) + 1;
            if (vertex == of_vertex.size()) of_vertex.push_back(0.0f);
            of_vertex[vertex] += tile.masses[row];
            row_vertex_.push_back(vertex);
        }
        tile_start_.push_back(row_vertex_.size());
        most_rows_ = std::max(most_rows_, rows);
        tile = {};
    };
    std::mutex mutex;
    std::size_t next = 0, rows = 0;
    bool numbering = false;
    pool.in_turn(tiles_.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
        Touched& own = touched[static_cast<std::size_t>(tile)];
        TileTable& table_of_tile = tables[static_cast<std::size_t>(worker)];
        touch(tile, features, table_of_tile);
        own.keys = table_of_tile.take();
        own.masses = masses(tile, own.keys.size());
        std::unique_lock lock(mutex);
        rows += own.keys.size();
        if (rows > most_rows) throw LatticeTooLarge();
        own.ready = true;
        if (numbering) return;
        numbering = true;
        while (next < touched.size() && touched[next].ready) {
            lock.unlock();
            number(touched[next]);
            lock.lock();
            ++next;
        }
        numbering = false;
    });
    vertices_ = static_cast<std::uint32_t>(table.keys().size());
    bound_halves(of_vertex);

    if (stencil != nullptr) {
        list_rows();
        around_ = StencilLinks(pool, *stencil, geometry_, table);
        return;
    }
    const KeyFilter present(table.keys());
    std::vector<Buffer<std::uint32_t>> ahead_of;  // each axis: see BlurOrder
    for (int axis = 0; axis < corners_; ++axis) ahead_of.emplace_back(std::size_t{vertices_} + 1)[0] = 0;
    constexpr std::int64_t kGrain = 1 << 12;
    // The first range is for work that threads cannot share.
    pool.for_ranges(vertices_ + kGrain, kGrain, [&](std::int64_t begin, std::int64_t end) {
        if (begin == 0)
            list_rows();
        else
            link(table, present, static_cast<std::size_t>(begin - kGrain),
                 static_cast<std::size_t>(end - kGrain), ahead_of);
    });
    blur_orders_.resize(ahead_of.size());
    pool.for_ranges(corners_, 1, [&](std::int64_t axis, std::int64_t) {
        blur_orders_[static_cast<std::size_t>(axis)] = BlurOrder(ahead_of[static_cast<std::size_t>(axis)]);
    });
}

// Returns the values of a tile's vertices if all its points are 1.
inline std::vector<float> Lattice::masses(std::int64_t tile, std::size_t rows) const {
    const std::int64_t first = tiles_.offset(tile) * corners_,
                       points = tiles_.offset(tile + 1) - tiles_.offset(tile);
    const std::vector<float> ones(static_cast<std::size_t>(points), 1.0f);
    std::vector<float> sums(rows, 0.0f);
    loops_.splat(points, corners_, corner_row_.data() + first, corner_weight_.data() + first, nullptr,
                 ones.data(), sums.data(), 1);
    return sums;
}

// Finds the power of two that keeps filtered probabilities in the range of 16 bits.
inline void Lattice::bound_halves(const std::vector<float>& masses) {
    const double heaviest = *std::max_element(masses.begin(), masses.end());
    // A blur at most doubles a value.
    factor_of_halves_ =
        static_cast<float>(std::exp2(std::floor(std::log2(kLargestHalf / std::ldexp(heaviest, corners_)))));
}

// Lists the rows of each vertex in the tiles, counting from 1. Most vertices have one.
inline void Lattice::list_rows() {
    const std::size_t rows = row_vertex_.size();
    first_row_ = Buffer<std::uint32_t>(std::size_t{vertices_} + 1);
    others_start_ = Buffer<std::uint32_t>(std::size_t{vertices_} + 3);
    others_vertex_ = Buffer<std::uint32_t>(rows - vertices_);
    others_row_ = Buffer<std::uint32_t>(rows - vertices_);
    others_start_.zero();
    // New vertices have the next number. While the lists are filled, the entry after a vertex' own is the
    // position of its next row.
    std::uint32_t* next = others_start_.data() + 1;
    std::uint32_t known = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const std::uint32_t vertex = row_vertex_[row];
        const bool fresh = vertex > known;
        known += fresh;
        first_row_[fresh ? vertex : 0] = static_cast<std::uint32_t>(row) + 1;
        next[fresh ? 0 : vertex + 1] += 1;
    }
    first_row_[0] = 0;
    next[0] = 0;
    for (std::size_t v = 1; v <= vertices_; ++v) next[v + 1] += next[v];
    known = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const std::uint32_t vertex = row_vertex_[row];
        if (vertex > known) {
            known = vertex;
            continue;
        }
        const std::uint32_t at = next[vertex]++;
        others_vertex_[at] = vertex;
        others_row_[at] = static_cast<std::uint32_t>(row) + 1;
    }
}

// Looks up the next vertex along each axis; one bit rules out most of those that are missing.
inline void Lattice::link(const VertexTable& table, const KeyFilter& present, std::size_t begin,
                          std::size_t end, std::vector<Buffer<std::uint32_t>>& ahead_of) const {
    constexpr std::size_t kBatch = 256;
    std::uint64_t candidates[kBatch];
    std::uint32_t vertex[kBatch];  // of each candidate
    for (int axis = 0; axis < corners_; ++axis) {
        Buffer<std::uint32_t>& along = ahead_of[static_cast<std::size_t>(axis)];
        for (std::size_t first = begin; first < end; first += kBatch) {
            const std::size_t last = std::min(end, first + kBatch);
            std::size_t count = 0;
            for (std::size_t v = first; v < last; ++v) {
                const std::uint64_t key = ahead(geometry_, table.keys()[v], axis);
                along[v + 1] = 0;
                candidates[count] = key;
                vertex[count] = static_cast<std::uint32_t>(v + 1);
                count += present.may_hold(key);
            }
            for (std::size_t k = 0; k < std::min<std::size_t>(count, kAhead); ++k)
                table.prefetch(candidates[k]);
            for (std::size_t k = 0; k < count; ++k) {
                if (k + kAhead < count) table.prefetch(candidates[k + kAhead]);
                along[vertex[k]] = table.find_from_1(candidates[k]);
            }
        }
    }
}

}  // namespace atrous

#include "lattice/lattice_filter.hpp"
