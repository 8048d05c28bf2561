// Spatial kernel on a regular grid, where a Gaussian is separable and needs no lattice.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "gaussian/downsampled_taps.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// exp(-sum over axes of (p_i - p_j)^2 / (2 sigma^2)) between the points of a grid of any dimension, but
// weights under `least` along an axis, which are dropped; nothing lies outside the grid.
class GridGaussian final : public Filter {
  public:
    GridGaussian(std::vector<std::int64_t> shape, const std::vector<double>& sigmas, double least)
        : shape_(std::move(shape)), loops_(kernels()) {
        const std::int64_t points =
            std::accumulate(shape_.begin(), shape_.end(), std::int64_t{1}, std::multiplies<>());
        tiles_ = Tiles(points, shape_.back());
        for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
            const double reach = std::ceil(sigmas[axis] * std::sqrt(-2.0 * std::log(least)));
            const auto last = static_cast<double>(shape_[axis] - 1);
            const auto radius = static_cast<std::size_t>(std::min(reach, last));
            std::vector<float> taps(2 * (radius + kRowsAtOnce) + 1, 0.0f);
            for (std::size_t t = 0; t <= radius; ++t) {
                const double z = static_cast<double>(t) / sigmas[axis];
                const auto tap = static_cast<float>(std::exp(-0.5 * z * z));
                taps[radius + kRowsAtOnce - t] = taps[radius + kRowsAtOnce + t] = tap;
            }
            taps_.push_back(std::move(taps));
        }
        if (shape_.size() == 2 && tiles_.line() == shape_[1]) find_coarse(sigmas, least);
    }

    const Tiles& tiles() const override { return tiles_; }
    std::unique_ptr<Filtering> start(std::int64_t width, bool probabilities) const override;
    bool takes_tiles() const override;
    std::unique_ptr<FilterState> start_tiles(std::int64_t width, bool float16,
                                             const float* pre_scale) const override;

  private:
    void find_coarse(const std::vector<double>& sigmas, double error) {
        for (const double sigma : sigmas) {
            const CoarseTaps coarse(sigma, error);
            if (coarse.between.empty()) {
                between_.clear();
                return;
            }
            const std::size_t reach = coarse.between.size() - 1;
            std::vector<float> taps(2 * (reach + kRowsAtOnce) + 1, 0.0f);
            for (std::size_t t = 0; t <= reach; ++t)
                taps[reach + kRowsAtOnce - t] = taps[reach + kRowsAtOnce + t] =
                    static_cast<float>(coarse.between[t]);
            between_.push_back(std::move(taps));
        }
    }

    class DownsampledState;
    class Line;
    class Run;
    class Strip;
    class PlaneRun;
    class TileState;

    static constexpr std::int64_t kPack = 16;  // floats that convolve_line reads at a time
    static constexpr std::int64_t kFlat = 24;  // the widest rows for which that is faster

    const float* middle(std::size_t axis) const { return taps_[axis].data() + taps_[axis].size() / 2; }
    std::int64_t radius(std::size_t axis) const {
        return static_cast<std::int64_t>(taps_[axis].size() / 2) - kRowsAtOnce;
    }

    const float* between(std::size_t axis) const { return between_[axis].data() + between_[axis].size() / 2; }
    std::int64_t coarse_reach(std::size_t axis) const {
        return static_cast<std::int64_t>(between_[axis].size() / 2) - kRowsAtOnce;
    }

    std::vector<std::int64_t> shape_;
    std::vector<std::vector<float>> taps_;
    std::vector<std::vector<float>> between_;  // of CoarseTaps; empty where that is not exact enough
    Tiles tiles_;
    const Kernels& loops_;
};

// Convolves pieces of lines along the last axis, whose rows lie together.
class GridGaussian::Line {
  public:
    // padded: room for the longest piece, see room().
    Line(const GridGaussian& filter, std::int64_t width, float* padded)
        : filter_(filter), width_(width), reach_(filter.radius(filter.shape_.size() - 1)), padded_(padded) {}

    static std::size_t room(const GridGaussian& filter, std::int64_t width, std::int64_t longest) {
        return static_cast<std::size_t>((longest + 2 * filter.radius(filter.shape_.size() - 1)) * width +
                                        kPack);
    }

    // The rows [begin, end) of a line of `length`.
    void convolve(const float* rows, std::int64_t length, std::int64_t begin, std::int64_t end,
                  float* out) const {
        const float* taps = filter_.middle(filter_.shape_.size() - 1);
        if (width_ > kFlat) {
            filter_.loops_.convolve(rows, length, width_, width_, begin, end, taps, reach_, out, width_);
            return;
        }
        // No padded copy is needed if all values read are within the line.
        const std::int64_t inside = std::clamp(reach_, begin, end);
        const std::int64_t outside = std::clamp(length - reach_ - kPack, inside, end);
        edge(rows, length, begin, inside, out);
        filter_.loops_.convolve_line(rows + inside * width_, (outside - inside) * width_, width_, taps,
                                     reach_, out + (inside - begin) * width_);
        edge(rows, length, outside, end, out + (outside - begin) * width_);
    }

  private:
    void edge(const float* rows, std::int64_t length, std::int64_t begin, std::int64_t end,
              float* out) const {
        if (begin == end) return;
        const std::int64_t from = std::max<std::int64_t>(0, begin - reach_),
                           to = std::min(length, end + reach_);
        float* at = std::fill_n(padded_, (from - (begin - reach_)) * width_, 0.0f);
        at = std::copy(rows + from * width_, rows + to * width_, at);
        std::fill(at, padded_ + (end - begin + 2 * reach_) * width_ + kPack, 0.0f);
        filter_.loops_.convolve_line(padded_ + reach_ * width_, (end - begin) * width_, width_,
                                     filter_.middle(filter_.shape_.size() - 1), reach_, out);
    }

    const GridGaussian& filter_;
    std::int64_t width_, reach_;
    float* padded_;
};

// Any grid: convolves the whole along one axis after the other, from the last to the first.
class GridGaussian::Run final : public Filtering {
  public:
    Run(const GridGaussian& filter, std::int64_t width) : filter_(filter), width_(width) {
        const auto size = static_cast<std::size_t>(filter.points() * width);
        done_ = Buffer<float>(size);
        if (filter.shape_.size() > 1) spare_ = Buffer<float>(size);
    }

    void splat(std::int64_t, const float*, float*) override {}

    void blur(ThreadPool& pool, const float* rows) override {
        std::size_t axis = filter_.shape_.size() - 1;
        float* out = axis % 2 == 0 ? done_.data() : spare_.data();
        along_lines(pool, rows, out);
        std::int64_t inner = width_ * filter_.shape_[axis];
        while (axis-- > 0) {
            float* next = axis % 2 == 0 ? done_.data() : spare_.data();
            along(pool, axis, inner, out, next);
            inner *= filter_.shape_[axis];
            out = next;
        }
    }

    void begin_tile(std::int64_t, float*) const override {}

    const float* slice(std::int64_t, std::int64_t, std::int64_t begin, std::int64_t, float*,
                       float*) const override {
        return done_.data() + begin * width_;
    }

  private:
    // Along the last axis, in pieces.
    void along_lines(ThreadPool& pool, const float* rows, float* out) const {
        const std::int64_t length = filter_.shape_.back(), pieces = (length + kPiece - 1) / kPiece;
        std::vector<Buffer<float>> padded;
        for (int worker = 0; worker < pool.size(); ++worker)
            padded.emplace_back(Line::room(filter_, width_, std::min(length, kPiece)));
        pool.for_ranges(
            filter_.points() / length * pieces, 4, [&](std::int64_t first, std::int64_t last, int worker) {
                const Line line(filter_, width_, padded[static_cast<std::size_t>(worker)].data());
                for (std::int64_t task = first; task < last; ++task) {
                    const std::int64_t at = task / pieces * length, begin = task % pieces * kPiece;
                    line.convolve(rows + at * width_, length, begin, std::min(length, begin + kPiece),
                                  out + (at + begin) * width_);
                }
            });
    }

    // Along an axis whose rows are `inner` floats, in strips of columns.
    void along(ThreadPool& pool, std::size_t axis, std::int64_t inner, const float* rows, float* out) const {
        const std::int64_t length = filter_.shape_[axis], line = length * inner;
        const std::int64_t strip = std::min<std::int64_t>(inner, 256), strips = (inner + strip - 1) / strip;
        pool.for_ranges(filter_.points() * width_ / line * strips, 1, [&](std::int64_t task, std::int64_t) {
            const std::int64_t first = task % strips * strip, at = task / strips * line + first;
            filter_.loops_.convolve(rows + at, length, inner, std::min(strip, inner - first), 0, length,
                                    filter_.middle(axis), filter_.radius(axis), out + at, inner);
        });
    }

    static constexpr std::int64_t kPiece = 1024;

    const GridGaussian& filter_;
    std::int64_t width_;
    Buffer<float> done_, spare_;
};

// A tile of an image, and as much above and below it as its columns need: what is convolved along the lines
// goes in, what is convolved along the columns too comes out.
class GridGaussian::Strip {
  public:
    Strip(const GridGaussian& filter, std::int64_t tile, std::int64_t width, float* scratch)
        : filter_(filter),
          width_(width),
          top_(filter.tiles_.top(tile)),
          first_(std::max<std::int64_t>(0, top_ - filter.radius(0))),
          last_(std::min(filter.shape_[0], top_ + filter.tiles_.height() + filter.radius(0))),
          lines_(scratch) {}

    // Floats of the scratch that it takes.
    static std::int64_t room(const GridGaussian& filter, std::int64_t width) {
        return lines(filter) * pitch(filter, width) + kRowsAtOnce * filter.tiles_.width() * width;
    }

    std::int64_t first() const { return first_; }
    std::int64_t last() const { return last_; }
    float* line(std::int64_t y) const { return lines_ + (y - first_) * pitch(filter_, width_); }

    // The points [begin, end) of a line of the tile, whose lines are read in their order: some at a time.
    const float* slice(std::int64_t begin, std::int64_t end) const {
        const Tiles& tiles = filter_.tiles_;
        const std::int64_t y = begin / tiles.line(), part = (y - top_) % kRowsAtOnce;
        const std::int64_t columns = (end - begin) * width_;
        float* out = lines_ + lines(filter_) * pitch(filter_, width_);
        if (part == 0)
            filter_.loops_.convolve(
                lines_, last_ - first_, pitch(filter_, width_), columns, y - first_,
                std::min({y + kRowsAtOnce, top_ + tiles.height(), filter_.shape_[0]}) - first_,
                filter_.middle(0), filter_.radius(0), out, columns);
        return out + part * columns;
    }

  private:
    static std::int64_t lines(const GridGaussian& filter) {
        return filter.tiles_.height() + 2 * filter.radius(0);
    }
    // Lines that differ in their place in the cache.
    static std::int64_t pitch(const GridGaussian& filter, std::int64_t width) {
        return filter.tiles_.width() * width / 32 * 32 + 48;
    }

    const GridGaussian& filter_;
    std::int64_t width_, top_, first_, last_;
    float* lines_;
};

// An image and a kernel that is small beside a tile: convolves each tile when it is read, so that nothing but
// the rows themselves passes through the memory.
class GridGaussian::PlaneRun final : public Filtering {
  public:
    PlaneRun(const GridGaussian& filter, std::int64_t width) : filter_(filter), width_(width) {}

    static bool suits(const GridGaussian& filter, std::int64_t width) {
        const Tiles& tiles = filter.tiles_;
        return filter.shape_.size() == 2 && tiles.line() == filter.shape_[1] && width <= kWidest &&
               tiles.width() <= chunk_of_pixels(width) &&  // a tile's line is read at once
               std::max(filter.radius(0), filter.radius(1)) <= Tiles::kTallest / 2;
    }

    void splat(std::int64_t, const float*, float*) override {}
    void blur(ThreadPool&, const float* rows) override { rows_ = rows; }

    std::size_t scratch() const override {
        return static_cast<std::size_t>(Strip::room(filter_, width_)) +
               Line::room(filter_, width_, filter_.tiles_.width());
    }

    void begin_tile(std::int64_t tile, float* scratch) const override {
        const std::int64_t width = filter_.shape_[1], left = filter_.tiles_.left(tile);
        const std::int64_t right = std::min(left + filter_.tiles_.width(), width);
        const Strip strip(filter_, tile, width_, scratch);
        const Line line(filter_, width_, scratch + Strip::room(filter_, width_));
        for (std::int64_t y = strip.first(); y < strip.last(); ++y) {
            if (width_ <= 8) filter_.tiles_.prefetch_next(rows_, width_, y * width + left, y * width + right);
            line.convolve(rows_ + y * width * width_, width, left, right, strip.line(y));
        }
    }

    const float* slice(std::int64_t tile, std::int64_t, std::int64_t begin, std::int64_t end, float* scratch,
                       float*) const override {
        return Strip(filter_, tile, width_, scratch).slice(begin, end);
    }

  private:
    static constexpr std::int64_t kWidest = 64;  // beyond, a tile does not fit the cache

    const GridGaussian& filter_;
    std::int64_t width_;
    const float* rows_ = nullptr;
};

inline std::unique_ptr<Filtering> GridGaussian::start(std::int64_t width, bool) const {
    if (PlaneRun::suits(*this, width)) return std::make_unique<PlaneRun>(*this, width);
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous

#include "gaussian/separable_tiles.hpp"
