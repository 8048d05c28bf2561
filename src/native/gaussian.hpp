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
        if (filter.shape_.size() > 1) spare_ = Buffer<float>(size);
    }

    void take(Team& team, const float* rows) override {
        std::int64_t inner = width_;
        for (std::size_t axis = filter_.shape_.size(); axis-- > 0;) {
            const std::int64_t length = filter_.shape_[axis], line = length * inner;
            const std::int64_t lines = filter_.points_ * width_ / line;
            const std::int64_t grain =
                std::clamp<std::int64_t>(kRowsAtATime / inner, kTogether, kRowsAtATime);
            const std::int64_t pieces = (length + grain - 1) / grain;
            const auto& taps = filter_.taps_[axis];
            const auto middle = static_cast<std::int64_t>(taps.size() / 2);
            float* out = axis % 2 == 0 ? done_.data() : spare_.data();
            team.for_ranges(lines * pieces, 1, [&](std::int64_t begin, std::int64_t) {
                const std::int64_t at = begin / pieces * line, first = begin % pieces * grain;
                filter_.loops_.convolve(rows + at, length, inner, first, std::min(length, first + grain),
                                        taps.data() + middle, middle - kTogether, out + at);
            });
            rows = out;
            inner = line;
        }
    }

    const float* read(std::int64_t begin, std::int64_t, float*) const override {
        return done_.data() + begin * width_;
    }

  private:
    static constexpr std::int64_t kRowsAtATime = 1 << 14;  // floats of them, enough to be worth a turn

    const GridGaussian& filter_;
    std::int64_t width_;
    Buffer<float> done_, spare_;
};

inline std::unique_ptr<Filtering> GridGaussian::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
