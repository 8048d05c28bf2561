// Adapter of filters that need the rows of all points at once to rows stored tile by tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Expands each tile's rows to rows of all columns, and gathers a tile's columns from the filtered rows.
class WholeImageState final : public FilterState {
  public:
    // most: maximum number of points in a slice.
    WholeImageState(const Filter& filter, std::int64_t width, bool float16, const float* pre_scale,
                    std::int64_t most)
        : filter_(filter),
          pre_scale_(pre_scale),
          float16_(float16),
          most_(most),
          width_(width),
          filtering_(filter.start(width, float16)) {
        for (Buffer<float>* rows : {&rows_, &next_rows_})
            *rows = Buffer<float>(static_cast<std::size_t>(filter.points() * width));
    }

    std::size_t scratch(std::int64_t) const override {
        return filtering_->scratch() + static_cast<std::size_t>(most_ * width_);
    }

    // Writes to next_rows_, because rows_ are still in use. Decided tiles are splatted once, so to both.
    void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows, float*) override {
        expand(label_tiles, tile, rows, next_rows_.data());
        if (label_tiles[tile].decided()) expand(label_tiles, tile, rows, rows_.data());
    }

    void narrow(std::int64_t width) override {
        width_ = width;
        filtering_ = filter_.start(width, float16_);
    }

    void blur(ThreadPool& pool) override {
        std::swap(rows_, next_rows_);
        std::vector<Buffer<float>> scratch;
        for (int worker = 0; worker < pool.size(); ++worker) scratch.emplace_back(filtering_->scratch());
        pool.for_ranges(filter_.tiles().count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            filtering_->splat(tile, rows_.data(), scratch[static_cast<std::size_t>(worker)].data());
        });
        filtering_->blur(pool, rows_.data());
    }

    void begin_tile(const SparseLabelTiles&, std::int64_t tile, const float*, float* scratch) const override {
        filtering_->begin_tile(tile, scratch + most_ * width_);
    }

    const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t place,
                       std::int64_t begin, std::int64_t end, float* scratch, float* out) const override {
        const LabelTile& label_tile = label_tiles[tile];
        const float* whole = filtering_->slice(tile, place, begin, end, scratch + most_ * width_, scratch);
        if (label_tile.has_all_columns(width_)) return whole;
        loops_.gather_columns(end - begin, whole, width_, label_tile.columns.data(), label_tile.count(), 0.0f,
                              out, label_tile.width);
        return out;
    }

  private:
    void expand(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows, float* out) const {
        const LabelTile& label_tile = label_tiles[tile];
        const float* from = rows + label_tile.start;
        filter_.tiles().segments(tile, [&](std::int64_t begin, std::int64_t end) {
            const std::int64_t count = end - begin;
            float* to = out + begin * width_;
            if (label_tile.decided()) {
                std::fill_n(to, count * width_, 0.0f);
                for (std::int64_t p = 0; p < count; ++p) to[p * width_ + label_tile.columns[0]] = 1.0f;
            } else if (label_tile.has_all_columns(width_)) {
                std::copy_n(from, count * width_, to);
            } else {
                loops_.float32.expand(count, 1.0f, from, label_tile.width, label_tile.columns.data(),
                                      label_tile.count(), to, width_);
            }
            if (pre_scale_ != nullptr) loops_.scale(count, pre_scale_ + begin, to, to, width_);
            from += count * label_tile.width;
        });
    }

    const Filter& filter_;
    const float* pre_scale_;  // of each point, or null
    const Kernels& loops_ = kernels();
    bool float16_;
    std::int64_t most_, width_;
    std::unique_ptr<Filtering> filtering_;
    Buffer<float> rows_, next_rows_;  // of all points, in all columns
};

}  // namespace atrous
