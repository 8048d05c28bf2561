// The spatial kernel: on a regular grid a Gaussian is separable, and no lattice is needed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"

namespace atrous {

// exp(-sum over axes of (p_i - p_j)^2 / (2 sigma^2)) between the points of a grid of any dimension, exact up
// to weights that float32 cannot hold beside 1; nothing lies outside the grid.
class GridGaussian final : public Filter {
  public:
    GridGaussian(std::vector<std::int64_t> shape, const std::vector<double>& sigmas)
        : shape_(std::move(shape)), loops_(inner_loops()) {
        for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
            points_ *= shape_[axis];
            const double reach = std::ceil(sigmas[axis] * std::sqrt(2.0 * std::log(33554432.0)));  // 2^-25
            const auto last = static_cast<double>(shape_[axis] - 1);
            const auto radius = static_cast<std::size_t>(std::min(reach, last));
            std::vector<float> taps(2 * (radius + kTogether) + 1, 0.0f);
            for (std::size_t t = 0; t <= radius; ++t) {
                const double z = static_cast<double>(t) / sigmas[axis];
                const auto tap = static_cast<float>(std::exp(-0.5 * z * z));
                taps[radius + kTogether - t] = taps[radius + kTogether + t] = tap;
            }
            taps_.push_back(std::move(taps));
        }
    }

    std::int64_t points() const override { return points_; }
    std::unique_ptr<Filtering> start(std::int64_t width) const override;

  private:
    class Run;

    std::vector<std::int64_t> shape_;
    std::vector<std::vector<float>> taps_;
    std::int64_t points_ = 1;
    const InnerLoops& loops_;
};

// Convolves along one axis after the other, from the last, whose rows lie together, to the first.
class GridGaussian::Run final : public Filtering {
  public:
    Run(const GridGaussian& filter, std::int64_t width) : filter_(filter), width_(width) {
        const auto size = static_cast<std::size_t>(filter.points_ * width);
        done_ = Buffer<float>(size);
        if (filter.shape_.size() > 2) spare_ = Buffer<float>(size);
    }

    void take(Team& team, const float* rows) override {
        std::size_t axis = filter_.shape_.size();
        std::int64_t inner = width_;
        if (axis > 1) {
            axis -= 2;
            float* out = axis % 2 == 0 ? done_.data() : spare_.data();
            along_two(team, axis, rows, out);
            inner *= filter_.shape_[axis] * filter_.shape_[axis + 1];
            rows = out;
        }
        while (axis-- > 0) {
            float* out = axis % 2 == 0 ? done_.data() : spare_.data();
            along(team, axis, inner, rows, out);
            inner *= filter_.shape_[axis];
            rows = out;
        }
    }

    const float* read(std::int64_t begin, std::int64_t, float*) const override {
        return done_.data() + begin * width_;
    }

  private:
    void along(Team& team, std::size_t axis, std::int64_t inner, const float* rows, float* out) const {
        const std::int64_t length = filter_.shape_[axis], line = length * inner;
        const std::int64_t grain = std::clamp<std::int64_t>((1 << 14) / inner, kTogether, 1 << 14);
        const std::int64_t pieces = (length + grain - 1) / grain;
        team.for_ranges(filter_.points_ * width_ / line * pieces, 1, [&](std::int64_t task, std::int64_t) {
            const std::int64_t at = task / pieces * line, first = task % pieces * grain;
            convolve(axis, rows + at, length, inner, first, std::min(length, first + grain),
                     out + at + first * inner, inner);
        });
    }

    // Along the last two axes at once, in strips so narrow that what passes between the two convolutions
    // stays in the second-level cache.
    void along_two(Team& team, std::size_t axis, const float* rows, float* out) const {
        const std::int64_t height = filter_.shape_[axis], length = filter_.shape_[axis + 1];
        const std::int64_t line = length * width_, reach = radius(axis);
        const std::int64_t strip =
            std::clamp<std::int64_t>(1024 / width_ / kTogether * kTogether, kTogether, length + kTogether);
        const std::int64_t strips = (length + strip - 1) / strip;
        team.for_ranges(
            filter_.points_ / (height * length) * strips, 1, [&](std::int64_t task, std::int64_t) {
                const std::int64_t at = task / strips * height * line;
                const std::int64_t begin = task % strips * strip, end = std::min(length, begin + strip);
                const std::int64_t inner = (end - begin) * width_;
                Buffer<float> kept(static_cast<std::size_t>((kBlock + 2 * reach) * inner));
                std::int64_t first = 0, filled = 0;  // kept holds the image's lines [first, filled)
                for (std::int64_t y = 0; y < height; y += kBlock) {
                    const std::int64_t last = std::min(height, y + kBlock);
                    const std::int64_t from = std::max<std::int64_t>(0, y - reach);
                    const std::int64_t to = std::min(height, last + reach);
                    std::copy(kept.data() + (from - first) * inner, kept.data() + (filled - first) * inner,
                              kept.data());
                    first = from;
                    for (; filled < to; ++filled)
                        convolve(axis + 1, rows + at + filled * line, length, width_, begin, end,
                                 kept.data() + (filled - first) * inner, width_);
                    convolve(axis, kept.data(), to - first, inner, y - first, last - first,
                             out + at + y * line + begin * width_, line);
                }
            });
    }

    std::int64_t radius(std::size_t axis) const {
        return static_cast<std::int64_t>(filter_.taps_[axis].size() / 2) - kTogether;
    }

    void convolve(std::size_t axis, const float* rows, std::int64_t length, std::int64_t inner,
                  std::int64_t begin, std::int64_t end, float* out, std::int64_t stride) const {
        const auto& taps = filter_.taps_[axis];
        filter_.loops_.convolve(rows, length, inner, begin, end, taps.data() + taps.size() / 2, radius(axis),
                                out, stride);
    }

    static constexpr std::int64_t kBlock = 64;  // lines of a strip that are finished together

    const GridGaussian& filter_;
    std::int64_t width_;
    Buffer<float> done_, spare_;
};

inline std::unique_ptr<Filtering> GridGaussian::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
