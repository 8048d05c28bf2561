// Filtering on a lattice; the end of lattice.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "lattice/lattice.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Rows of the vertices, and each tile's rows of them.
class Lattice::Vertices {
  public:
    // probabilities: the rows of the points are between 0 and 1. transposed: the blurs run in reverse order.
    Vertices(const Lattice& lattice, std::int64_t width, bool probabilities, bool transposed = false)
        : lattice_(lattice), probabilities_(probabilities), transposed_(transposed) {
        choose(width, false);
        room_ = static_cast<std::size_t>(width) * loops_.bytes;
        tile_values_ = Buffer<std::byte>((lattice.row_vertex_.size() + 1) * room_);
        values_ = Buffer<std::byte>((std::size_t{lattice.vertices_} + 1) * room_);
        if (!lattice.around_.empty()) other_ = Buffer<std::byte>(values_.size());
        clear_first();
    }

    // Reuses the memory for narrower rows.
    void narrow(std::int64_t width) {
        choose(width, static_cast<std::size_t>(width) * sizeof(float) > room_);
        clear_first();
    }

    // Whether a tile's rows, `width` floats with these columns, equal rows of the vertices.
    bool has_all_columns(const std::vector<std::int32_t>& columns, std::int64_t width) const {
        return width == width_ && columns.back() == static_cast<std::int32_t>(columns.size()) - 1;
    }

    // Stores a tile's rows of its vertices, which have all columns or some.
    void store(std::int64_t tile, const float* rows) {
        loops_.store(held(tile), factor_, rows, rows_of(tile), width_);
    }
    void store(std::int64_t tile, const float* rows, std::int64_t width,
               const std::vector<std::int32_t>& columns) {
        if (has_all_columns(columns, width)) return store(tile, rows);
        loops_.expand(held(tile), factor_, rows, width, columns.data(),
                      static_cast<std::int64_t>(columns.size()), rows_of(tile), width_);
    }

    // Returns the tile's rows if they are floats, else null.
    float* floats_of(std::int64_t tile) {
        return loops_.bytes == sizeof(float) ? reinterpret_cast<float*>(rows_of(tile)) : nullptr;
    }

    // Sums the tiles' rows of each vertex, and blurs.
    void blur(ThreadPool& pool) {
        const std::int64_t vertices = lattice_.vertices_;
        const std::int64_t grain = std::clamp<std::int64_t>((1 << 12) / width_, 64, 1 << 13);
        pool.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
            loops_.sum(begin + 1, end + 1, lattice_.first_row_.data(), lattice_.others_start_.data(),
                       lattice_.others_vertex_.data(), lattice_.others_row_.data(), tile_values_.data(),
                       values_.data(), width_);
        });
        const StencilLinks& around = lattice_.around_;
        if (!around.empty()) {
            pool.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                loops_.weighted_sum(begin + 1, end + 1, around.start(), around.vertex(), around.weight(),
                                    values_.data(), other_.data(), width_);
            });
            std::swap(values_, other_);
            return;
        }
        const std::vector<BlurOrder>& orders = lattice_.blur_orders_;
        for (std::size_t axis = 0; axis < orders.size(); ++axis) {
            const BlurOrder& chains = orders[transposed_ ? orders.size() - 1 - axis : axis];
            pool.for_ranges(chains.parts(), 1, [&](std::int64_t part, std::int64_t) {
                loops_.blur_chains(chains.begin(part), chains.begin(part + 1), chains.order(), values_.data(),
                                   width_);
            });
        }
    }

    // Writes the blurred rows of a tile's vertices, with all columns or some.
    void copy(std::int64_t tile, float* out) const {
        loops_.copy(held(tile), lattice_.vertices_of(tile), scale(), values_.data(), out, width_);
    }
    void copy(std::int64_t tile, const std::vector<std::int32_t>& columns, float* out,
              std::int64_t width) const {
        if (has_all_columns(columns, width))
            return copy(tile, out);  // what others there are goes where nothing is read
        loops_.copy_columns(held(tile), lattice_.vertices_of(tile), scale(), values_.data(), width_,
                            columns.data(), static_cast<std::int64_t>(columns.size()), out, width);
    }

    // Writes the filtered rows of some points directly from the vertices; `at` is the first point's offset in
    // the tiles' order.
    void slice(std::int64_t tile, std::int64_t at, std::int64_t points, float* out) const {
        const std::int64_t corner = at * lattice_.corners_;
        loops_.slice_far(points, lattice_.corners_, lattice_.corner_row_.data() + corner,
                         lattice_.corner_weight_.data() + corner, lattice_.vertices_of(tile), scale(),
                         values_.data(), out, width_);
    }

  private:
    std::size_t row() const { return static_cast<std::size_t>(width_) * loops_.bytes; }
    std::int64_t held(std::int64_t tile) const { return static_cast<std::int64_t>(lattice_.tile_rows(tile)); }
    float scale() const { return lattice_.scale_ / factor_; }
    std::byte* rows_of(std::int64_t tile) {
        return tile_values_.data() + (lattice_.tile_start_[static_cast<std::size_t>(tile)] + 1) *
                                         static_cast<std::size_t>(width_) * loops_.bytes;
    }

    void choose(std::int64_t width, bool short_of_memory) {
        width_ = width;
        // Rounding to 11 bits changes less than the lattice itself, and memory bandwidth limits the speed,
        // unless rows are short or all of them fit in the cache.
        const std::size_t bytes = lattice_.vertices_ * static_cast<std::size_t>(width) * sizeof(float);
        const bool worth = width >= kLeastHalves && bytes >= kCached;
        const bool halves = probabilities_ && lattice_.loops_.float16.bytes > 0 && lattice_.around_.empty() &&
                            (worth || short_of_memory);
        loops_ = halves ? lattice_.loops_.float16 : lattice_.loops_.float32;
        factor_ = halves ? lattice_.factor_of_halves_ : 1.0f;
    }

    // The first row represents missing vertices.
    void clear_first() { std::fill_n(values_.data(), row(), std::byte{0}); }

    static constexpr std::int64_t kLeastHalves = 8;
    static constexpr std::size_t kCached = std::size_t{1} << 19;

    const Lattice& lattice_;
    bool probabilities_, transposed_;
    VertexKernels loops_{};
    float factor_ = 1.0f;  // of the stored rows
    std::int64_t width_ = 0;
    std::size_t room_ = 0;              // bytes of a row at first
    Buffer<std::byte> tile_values_;     // rows of the tiles, from 1
    Buffer<std::byte> values_, other_;  // rows of the vertices, from 1, after one of zeros
};

class Lattice::Run final : public Filtering {
  public:
    Run(const Lattice& lattice, std::int64_t width, bool probabilities, bool transposed)
        : lattice_(lattice),
          width_(width),
          vertices_(lattice, width, probabilities && copies(), transposed) {}

    void splat(std::int64_t tile, const float* rows, float* scratch) override {
        const int corners = lattice_.corners_;
        float* own = vertices_.floats_of(tile);
        float* sums = own != nullptr ? own : scratch;
        std::fill_n(sums, lattice_.tile_rows(tile) * static_cast<std::size_t>(width_), 0.0f);
        std::int64_t at = lattice_.tiles_.offset(tile) * corners;
        lattice_.tiles_.segments(tile, [&](std::int64_t begin, std::int64_t end) {
            lattice_.loops_.splat(end - begin, corners, lattice_.corner_row_.data() + at,
                                  lattice_.corner_weight_.data() + at, nullptr, rows + begin * width_, sums,
                                  width_);
            at += (end - begin) * corners;
        });
        if (own == nullptr) vertices_.store(tile, sums);
    }

    void blur(ThreadPool& pool, const float*) override { vertices_.blur(pool); }

    std::size_t scratch() const override {
        return copies() ? lattice_.most_rows_ * static_cast<std::size_t>(width_) : 0;
    }

    void begin_tile(std::int64_t tile, float* scratch) const override {
        if (copies()) vertices_.copy(tile, scratch);
    }

    const float* slice(std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end,
                       float* scratch, float* out) const override {
        const std::int64_t first = lattice_.tiles_.offset(tile) + place, at = first * lattice_.corners_;
        if (copies())
            lattice_.loops_.slice(end - begin, lattice_.corners_, lattice_.corner_row_.data() + at,
                                  lattice_.corner_weight_.data() + at, scratch, out, width_);
        else
            vertices_.slice(tile, first, end - begin, out);
        return out;
    }

  private:
    // Wide rows are not copied: those of a tile would not fit in the cache.
    bool copies() const { return width_ <= 64; }

    const Lattice& lattice_;
    std::int64_t width_;
    Vertices vertices_;
};

// The vertices have all columns, a tile's rows those of its label_tile.
class Lattice::TileState final : public FilterState {
  public:
    TileState(const Lattice& lattice, std::int64_t width, bool float16, const float* pre_scale)
        : lattice_(lattice), pre_scale_(pre_scale), vertices_(lattice, width, float16) {}

    std::size_t scratch(std::int64_t width) const override {
        return std::max(lattice_.most_rows_ * static_cast<std::size_t>(width),
                        lattice_.most_rows_ + static_cast<std::size_t>(Tiles::kMost));
    }

    void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
               float* scratch) override {
        const Kernels& loops = lattice_.loops_;
        const LabelTile& label_tile = label_tiles[tile];
        const std::int64_t points = label_tiles.points(tile), first = lattice_.tiles_.offset(tile);
        const auto held = static_cast<std::int64_t>(lattice_.tile_rows(tile));
        const std::uint16_t* corner_rows = lattice_.corner_row_.data() + first * lattice_.corners_;
        const float* weights = lattice_.corner_weight_.data() + first * lattice_.corners_;
        const std::int64_t width = label_tile.decided() ? 1 : label_tile.width;
        const float* from = rows + label_tile.start;
        if (label_tile.decided()) from = std::fill_n(scratch + held, points, 1.0f) - points;
        std::fill_n(scratch, held * width, 0.0f);
        if (pre_scale_ == nullptr)
            loops.splat(points, lattice_.corners_, corner_rows, weights, nullptr, from, scratch, width);
        else
            lattice_.tiles_.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                loops.splat(end - begin, lattice_.corners_, corner_rows, weights, pre_scale_ + begin, from,
                            scratch, width);
                corner_rows += (end - begin) * lattice_.corners_;
                weights += (end - begin) * lattice_.corners_;
                from += (end - begin) * width;
            });
        vertices_.store(tile, scratch, width, label_tile.columns);
    }

    void narrow(std::int64_t width) override { vertices_.narrow(width); }

    void blur(ThreadPool& pool) override { vertices_.blur(pool); }

    void begin_tile(const SparseLabelTiles& label_tiles, std::int64_t tile, const float*,
                    float* scratch) const override {
        const LabelTile& label_tile = label_tiles[tile];
        vertices_.copy(tile, label_tile.columns, scratch, label_tile.width);
    }

    const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t place,
                       std::int64_t begin, std::int64_t end, float* scratch, float* out) const override {
        const std::int64_t at = (lattice_.tiles_.offset(tile) + place) * lattice_.corners_;
        lattice_.loops_.slice(end - begin, lattice_.corners_, lattice_.corner_row_.data() + at,
                              lattice_.corner_weight_.data() + at, scratch, out, label_tiles[tile].width);
        return out;
    }

  private:
    const Lattice& lattice_;
    const float* pre_scale_;
    Vertices vertices_;
};

inline std::unique_ptr<Filtering> Lattice::start(std::int64_t width, bool probabilities) const {
    return std::make_unique<Run>(*this, width, probabilities, false);
}

inline std::unique_ptr<Filtering> Lattice::start_transposed(std::int64_t width) const {
    return std::make_unique<Run>(*this, width, false, true);
}

inline std::unique_ptr<FilterState> Lattice::start_tiles(std::int64_t width, bool float16,
                                                         const float* pre_scale) const {
    return std::make_unique<TileState>(*this, width, float16, pre_scale);
}

}  // namespace atrous
