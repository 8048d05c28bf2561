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
            std::vector<float> taps(static_cast<std::size_t>(std::min(reach, last)) + 1);
            for (std::size_t t = 0; t < taps.size(); ++t) {
                const double z = static_cast<double>(t) / sigmas[axis];
                taps[t] = static_cast<float>(std::exp(-0.5 * z * z));
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

// Convolves along every axis but the first when it takes the rows in, along the first when it is read.
class GridGaussian::Run final : public Filtering {
  public:
    Run(const GridGaussian& filter, std::int64_t width) : filter_(filter), width_(width) {
        const auto size = static_cast<std::size_t>(filter.points_ * width);
        done_ = Buffer<float>(size);
        if (filter.shape_.size() > 2) spare_ = Buffer<float>(size);
    }

    void take(Team& team, const float* rows) override {
        const auto& shape = filter_.shape_;
        if (shape.size() == 1) {
            team.for_ranges(filter_.points_ * width_, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
                std::copy(rows + begin, rows + end, done_.data() + begin);
            });
            return;
        }
        std::int64_t inner = width_;
        for (std::size_t axis = shape.size() - 1; axis > 0; --axis) {
            const bool last = axis == 1;
            float* out = last || (axis & 1) != 0 ? done_.data() : spare_.data();
            const std::int64_t line = shape[axis] * inner;
            team.for_ranges(filter_.points_ * width_ / line, 1, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t l = begin; l < end; ++l)
                    along(axis, inner, rows + l * line, out + l * line);
            });
            rows = out;
            inner = line;
        }
    }

    void read(std::int64_t begin, std::int64_t end, float* out) const override {
        const std::int64_t line = filter_.points_ / filter_.shape_[0];
        for (std::int64_t p = begin; p < end;) {
            const std::int64_t i = p / line, first = p % line;
            const std::int64_t run = std::min(end - p, line - first);
            filter_.loops_.convolve(done_.data(), filter_.shape_[0], line * width_, i, i + 1, first * width_,
                                    run * width_, filter_.taps_[0].data(), radius(0), out);
            out += run * width_;
            p += run;
        }
    }

  private:
    std::int64_t radius(std::size_t axis) const {
        return static_cast<std::int64_t>(filter_.taps_[axis].size()) - 1;
    }

    void along(std::size_t axis, std::int64_t inner, const float* in, float* out) const {
        filter_.loops_.convolve(in, filter_.shape_[axis], inner, 0, filter_.shape_[axis], 0, inner,
                                filter_.taps_[axis].data(), radius(axis), out);
    }

    const GridGaussian& filter_;
    std::int64_t width_;
    Buffer<float> done_, spare_;
};

inline std::unique_ptr<Filtering> GridGaussian::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
