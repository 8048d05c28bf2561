// Spatial kernel for rows stored tile by tile; the end of separable.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "gaussian/downsampled.hpp"
#include "gaussian/separable.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// An image and a kernel that is small compared with a tile: as PlaneRun, but with neighboring tiles that have
// other columns.
class GridGaussian::TileState final : public FilterState {
  public:
    TileState(const GridGaussian& filter, const float* pre_scale)
        : filter_(filter), tiles_(filter.tiles_), pre_scale_(pre_scale) {}

    std::size_t scratch(std::int64_t width) const override {
        return static_cast<std::size_t>(Strip::room(filter_, width) +
                                        (tiles_.width() + 2 * filter_.radius(1)) * width + kPack);
    }

    bool reads_rows() const override { return true; }

    void splat(const SparseLabelTiles&, std::int64_t, const float*, float*) override {}
    void narrow(std::int64_t) override {}
    void blur(ThreadPool&) override {}

    void begin_tile(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
                    float* scratch) const override {
        const LabelTile& label_tile = label_tiles[tile];
        const std::int64_t width = label_tile.width, reach = filter_.radius(1);
        const std::int64_t left = tiles_.left(tile), right = std::min(left + tiles_.width(), tiles_.line());
        const Strip strip(filter_, tile, width, scratch);
        float* line = scratch + Strip::room(filter_, width);
        Places places;
        for (std::int64_t y = strip.first(); y < strip.last(); ++y) {
            gather(label_tiles, label_tile, y, left - reach, right + reach, rows, places, line);
            float* out = strip.line(y);
            if (width <= kFlat)
                filter_.loops_.convolve_line(line + reach * width, (right - left) * width, width,
                                             filter_.middle(1), reach, out);
            else
                filter_.loops_.convolve(line, right - left + 2 * reach, width, width, reach,
                                        reach + right - left, filter_.middle(1), reach, out, width);
        }
    }

    const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t,
                       std::int64_t begin, std::int64_t end, float* scratch, float*) const override {
        return Strip(filter_, tile, label_tiles[tile].width, scratch).slice(begin, end);
    }

  private:
    // For each neighboring tile, the positions of the middle tile's columns in it.
    using Places = std::map<std::int64_t, std::vector<std::int32_t>>;

    // The points [begin, end) of line y, in the columns of `label_tile`; zeros beside the image, and a pack
    // beyond.
    void gather(const SparseLabelTiles& label_tiles, const LabelTile& label_tile, std::int64_t y,
                std::int64_t begin, std::int64_t end, const float* rows, Places& places, float* out) const {
        const std::int64_t width = label_tile.width, row = y / tiles_.height();
        const std::int64_t across = tiles_.across();
        std::int64_t x = std::max<std::int64_t>(begin, 0);
        out = std::fill_n(out, (x - begin) * width, 0.0f);
        while (x < std::min(end, tiles_.line())) {
            const std::int64_t tile = row * across + x / tiles_.width(), left = tiles_.left(tile);
            const std::int64_t wide = std::min(tiles_.width(), tiles_.line() - left);
            const std::int64_t count = std::min(end, left + wide) - x;
            const std::int64_t place = (y - tiles_.top(tile)) * wide + x - left;
            const LabelTile& other = label_tiles[tile];
            if (other.width == width && other.columns == label_tile.columns) {
                std::copy_n(rows + other.start + place * width, count * width, out);
            } else {
                const auto known = places.try_emplace(tile);
                std::vector<std::int32_t>& of = known.first->second;
                if (known.second) of = other.source_columns(label_tile.columns);
                if (other.decided())
                    for (std::int64_t p = 0; p < count; ++p)
                        for (std::int64_t c = 0; c < width; ++c)
                            out[p * width + c] =
                                c < label_tile.count() && of[static_cast<std::size_t>(c)] == 0;
                else
                    filter_.loops_.gather_columns(count, rows + other.start + place * other.width,
                                                  other.width, of.data(), label_tile.count(), 0.0f, out,
                                                  width);
            }
            if (pre_scale_ != nullptr)
                filter_.loops_.scale(count, pre_scale_ + y * tiles_.line() + x, out, out, width);
            out += count * width;
            x += count;
        }
        std::fill_n(out, (end - x) * width + kPack, 0.0f);
    }

    const GridGaussian& filter_;
    const Tiles& tiles_;
    const float* pre_scale_;  // of each point, or null
};

inline bool GridGaussian::takes_tiles() const {
    return shape_.size() == 2 && tiles_.line() == shape_[1] && tiles_.width() <= Tiles::kWidest &&
           (!between_.empty() || std::max(radius(0), radius(1)) <= Tiles::kTallest / 2);
}

inline std::unique_ptr<FilterState> GridGaussian::start_tiles(std::int64_t width, bool,
                                                              const float* pre_scale) const {
    if (!between_.empty()) return std::make_unique<DownsampledState>(*this, width, pre_scale);
    return std::make_unique<TileState>(*this, pre_scale);
}

}  // namespace atrous
