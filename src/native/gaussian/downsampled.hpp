// Spatial kernel on a grid of every second pixel, for rows stored tile by tile; the end of
// separable_tiles.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "gaussian/separable.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Each tile splats its rows to the cells around its pixels; the tiles' values of each cell are summed and
// convolved; each tile slices its pixels from the cells around them (see CoarseTaps). Cells lie at the pixels
// -4, -2, 0 and so on.
class GridGaussian::DownsampledState final : public FilterState {
  public:
    DownsampledState(const GridGaussian& filter, std::int64_t width, const float* pre_scale)
        : filter_(filter),
          tiles_(filter.tiles_),
          loops_(filter.loops_),
          pre_scale_(pre_scale),
          width_(width) {
        start_.push_back(0);
        for (std::int64_t tile = 0; tile < tiles_.count(); ++tile) {
            const Block block = block_of(tile);
            start_.push_back(start_.back() + static_cast<std::size_t>(block.tall() * block.wide()));
        }
        across_ = end_cell(tiles_.line());
        down_ = end_cell(filter.shape_[0]);
        held_ = Buffer<float>(start_.back() * static_cast<std::size_t>(width));
        cells_ = Buffer<float>(static_cast<std::size_t>(across_ * down_ * width));
    }

    bool reads_rows() const override { return false; }

    std::size_t scratch(std::int64_t width) const override {
        const std::int64_t wide = end_cell(tiles_.width()), tall = end_cell(tiles_.height());
        const std::int64_t put = (tiles_.width() + 4 * kHalvingReach) * width +
                                 (tiles_.height() + tall) * wide * width + tiles_.width();
        const std::int64_t visit = (tall + 1) * pitch(width) + (tall + 2 * reach(0)) * wide * width;
        return static_cast<std::size_t>(std::max(put, visit));
    }

    // First along the lines, then along the columns.
    void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
               float* scratch) override {
        const LabelTile& label_tile = label_tiles[tile];
        const Block block = block_of(tile);
        const std::int64_t pixels = block.right - block.left, lines = block.bottom - block.top;
        const std::int64_t width = label_tile.decided() ? 1 : label_tile.width, wide = block.wide() * width;
        const std::int64_t margin = 2 * kHalvingReach * width;
        float* line = scratch + margin;
        std::fill_n(scratch, margin, 0.0f);
        std::fill_n(line + pixels * width, margin, 0.0f);
        if (label_tile.decided()) std::fill_n(line, pixels, 1.0f);
        float* halved = line + pixels * width + margin;
        const auto halve = [&](const float* row, std::int64_t begin, std::int64_t end, std::int64_t y) {
            loops_.halve(row + (2 * (begin - kHalvingReach) - block.left) * width, end - begin, width,
                         CoarseTaps::kToCells.data(), halved + y * wide + (begin - block.first) * width);
        };
        // Cells for which all lies within the line, which then need no copy between zeros.
        const std::int64_t inside = block.left / 2 + kHalvingReach + block.left % 2,
                           outside = (block.right + 1) / 2;
        const bool copied = pre_scale_ != nullptr || label_tile.decided() || inside >= outside;
        for (std::int64_t y = 0; y < lines; ++y) {
            const float* row = rows + label_tile.start + y * pixels * width;
            if (copied) {
                const float* factors = pre_scale_ == nullptr
                                           ? nullptr
                                           : pre_scale_ + (block.top + y) * tiles_.line() + block.left;
                if (factors != nullptr && label_tile.decided())
                    std::copy_n(factors, pixels, line);
                else if (factors != nullptr)
                    loops_.scale(pixels, factors, row, line, width);
                else if (!label_tile.decided())
                    std::copy_n(row, pixels * width, line);
                halve(line, block.first, block.last, y);
                continue;
            }
            std::copy_n(row, margin, line);
            std::copy_n(row + pixels * width - margin, margin, line + pixels * width - margin);
            halve(line, block.first, inside, y);
            halve(row, inside, outside, y);
            halve(line, outside, block.last, y);
        }
        const bool all_columns = label_tile.has_all_columns(width_) && !label_tile.decided();
        float* own = held_.data() + start_[static_cast<std::size_t>(tile)] * static_cast<std::size_t>(width_);
        float* out = all_columns ? own : halved + lines * wide;
        for (std::int64_t cell = block.first_row; cell < block.last_row; ++cell) {
            const std::int64_t middle = 2 * cell - kHalvingReach;
            const float* around[2 * kHalvingReach + 1];
            float factors[2 * kHalvingReach + 1];
            int count = 0;
            for (std::int64_t y = std::max(block.top, middle - kHalvingReach);
                 y < std::min(block.bottom, middle + kHalvingReach + 1); ++y, ++count) {
                around[count] = halved + (y - block.top) * wide;
                factors[count] = to_cells(y - middle);
            }
            loops_.mix(count, around, factors, wide, out + (cell - block.first_row) * wide);
        }
        if (!all_columns)
            loops_.float32.expand(block.tall() * block.wide(), 1.0f, out, width, label_tile.columns.data(),
                                  label_tile.count(), own, width_);
    }

    void narrow(std::int64_t width) override { width_ = width; }

    // Sums what the tiles hold, and convolves along the lines.
    void blur(ThreadPool& pool) override {
        const std::int64_t margin = reach(1) * width_, line = across_ * width_;
        std::vector<Buffer<float>> padded;
        for (int worker = 0; worker < pool.size(); ++worker) {
            padded.emplace_back(static_cast<std::size_t>(line + 2 * margin + kPack));
            std::fill_n(padded.back().data(), padded.back().size(), 0.0f);
        }
        pool.for_ranges(down_, 1, [&](std::int64_t cell, std::int64_t, int worker) {
            float* sums = padded[static_cast<std::size_t>(worker)].data() + margin;
            sum_line(cell, sums);
            float* out = cells_.data() + cell * line;
            if (width_ <= kFlat)
                loops_.convolve_line(sums, line, width_, filter_.between(1), reach(1), out);
            else
                loops_.convolve(sums, across_, width_, width_, 0, across_, filter_.between(1), reach(1), out,
                                width_);
        });
    }

    // Convolves along the columns.
    void begin_tile(const SparseLabelTiles& label_tiles, std::int64_t tile, const float*,
                    float* scratch) const override {
        const LabelTile& label_tile = label_tiles[tile];
        const Block block = block_of(tile);
        const std::int64_t width = label_tile.width, wide = block.wide();
        const std::int64_t first = std::max<std::int64_t>(0, block.first_row - reach(0));
        const std::int64_t last = std::min(down_, block.last_row + reach(0));
        const float* from = cells_.data() + (first * across_ + block.first) * width_;
        std::int64_t step = across_ * width_;
        if (!label_tile.has_all_columns(width_)) {
            float* picked = scratch + (block.tall() + 1) * pitch(width);
            for (std::int64_t cell = first; cell < last; ++cell)
                loops_.gather_columns(wide, from + (cell - first) * step, width_, label_tile.columns.data(),
                                      label_tile.count(), 0.0f, picked + (cell - first) * wide * width,
                                      width);
            from = picked;
            step = wide * width;
        }
        std::vector<const float*> lines(static_cast<std::size_t>(2 * reach(0) + 1));
        for (std::int64_t cell = block.first_row; cell < block.last_row; ++cell) {
            const std::int64_t begin = std::max(first, cell - reach(0)),
                               end = std::min(last, cell + reach(0) + 1);
            for (std::int64_t other = begin; other < end; ++other)
                lines[static_cast<std::size_t>(other - begin)] = from + (other - first) * step;
            loops_.mix(static_cast<int>(end - begin), lines.data(), filter_.between(0) + (begin - cell),
                       wide * width, scratch + (cell - block.first_row) * pitch(width));
        }
    }

    // Back to the pixels, first along the columns, then along the lines.
    const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t,
                       std::int64_t begin, std::int64_t end, float* scratch, float* out) const override {
        const std::int64_t width = label_tiles[tile].width, y = begin / tiles_.line(),
                           x = begin % tiles_.line();
        const Block block = block_of(tile);
        const std::int64_t first = first_cell(x), last = end_cell(x + end - begin);
        const float* around[kHalvingReach + 1];
        float factors[kHalvingReach + 1];
        int count = 0;
        for (std::int64_t cell = first_cell(y); cell < end_cell(y + 1); ++cell, ++count) {
            around[count] = scratch + (cell - block.first_row) * pitch(width) + (first - block.first) * width;
            factors[count] = to_cells(y - (2 * cell - kHalvingReach));
        }
        float* line = scratch + block.tall() * pitch(width);
        loops_.mix(count, around, factors, (last - first) * width, line);
        loops_.widen(line, x % 2 != 0, end - begin, width, CoarseTaps::kToCells.data(), out);
        return out;
    }

  private:
    // A tile's pixels, and the cells around them: numbers of lines and columns.
    struct Block {
        std::int64_t top, bottom, left, right;
        std::int64_t first_row, last_row, first, last;
        std::int64_t tall() const { return last_row - first_row; }
        std::int64_t wide() const { return last - first; }
    };

    Block block_of(std::int64_t tile) const {
        const std::int64_t top = tiles_.top(tile), left = tiles_.left(tile);
        const std::int64_t bottom = std::min(top + tiles_.height(), filter_.shape_[0]);
        const std::int64_t right = std::min(left + tiles_.width(), tiles_.line());
        return {
            top, bottom, left, right, first_cell(top), end_cell(bottom), first_cell(left), end_cell(right)};
    }

    static_assert(kHalvingReach == 4);
    static std::int64_t first_cell(std::int64_t begin) { return (begin + 1) / 2; }
    static std::int64_t end_cell(std::int64_t end) { return (end + 3) / 2 + 3; }
    static float to_cells(std::int64_t distance) {
        return CoarseTaps::kToCells[static_cast<std::size_t>(distance < 0 ? -distance : distance)];
    }
    std::int64_t reach(std::size_t axis) const { return filter_.coarse_reach(axis); }

    // Sums the tiles' rows of a line of cells.
    void sum_line(std::int64_t cell, float* sums) const {
        std::fill_n(sums, across_ * width_, 0.0f);
        const std::int64_t many =
            tiles_.line() <= tiles_.width() ? 1 : (tiles_.line() - 1) / tiles_.width() + 1;
        // A cell is reached by pixels up to kHalvingReach away.
        const std::int64_t middle = 2 * cell - kHalvingReach, most = filter_.shape_[0] - 1;
        const std::int64_t above =
            std::clamp<std::int64_t>(middle - kHalvingReach, 0, most) / tiles_.height();
        const std::int64_t below =
            std::clamp<std::int64_t>(middle + kHalvingReach, 0, most) / tiles_.height();
        for (std::int64_t tile = above * many; tile < (below + 1) * many; ++tile) {
            const Block block = block_of(tile);
            if (cell < block.first_row || cell >= block.last_row) continue;
            float* to = sums + block.first * width_;
            const float* own = held_.data() +
                               start_[static_cast<std::size_t>(tile)] * static_cast<std::size_t>(width_) +
                               (cell - block.first_row) * block.wide() * width_;
            const float* both[2] = {to, own};
            const float factors[2] = {1.0f, 1.0f};
            loops_.mix(2, both, factors, block.wide() * width_, to);
        }
    }

    // Lines that differ in their place in the cache.
    std::int64_t pitch(std::int64_t width) const { return end_cell(tiles_.width()) * width / 32 * 32 + 48; }

    const GridGaussian& filter_;
    const Tiles& tiles_;
    const Kernels& loops_;
    const float* pre_scale_;  // of each point, or null
    std::int64_t width_, across_, down_;
    std::vector<std::size_t> start_;  // of each tile's cells among those held
    Buffer<float> held_, cells_;
};

}  // namespace atrous
