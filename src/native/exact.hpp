// The kernel between every pair of points: what the lattice approximates. Time grows with their square.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "filter.hpp"

namespace atrous {

class BruteForce final : public Filter {
  public:
    // features: `dimensions` rows of `points` floats.
    BruteForce(const float* features, int dimensions, std::int64_t points)
        : dimensions_(dimensions),
          points_(points),
          features_(static_cast<std::size_t>(dimensions * points)),
          loops_(inner_loops()) {
        std::copy(features, features + dimensions * points, features_.data());
    }

    std::int64_t points() const override { return points_; }
    std::unique_ptr<Filtering> start(std::int64_t width) const override;

  private:
    class Run;

    int dimensions_;
    std::int64_t points_;
    Buffer<float> features_;
    const InnerLoops& loops_;
};

class BruteForce::Run final : public Filtering {
  public:
    Run(const BruteForce& filter, std::int64_t width)
        : filter_(filter), width_(width), rows_(static_cast<std::size_t>(filter.points_ * width)) {}

    void take(Team&, const float* rows) override {
        std::copy(rows, rows + filter_.points_ * width_, rows_.data());
    }

    const float* read(std::int64_t begin, std::int64_t end, float* scratch) const override {
        filter_.loops_.brute_force(filter_.dimensions_, filter_.features_.data(), filter_.points_, begin, end,
                                   rows_.data(), scratch, width_);
        return scratch;
    }

  private:
    const BruteForce& filter_;
    std::int64_t width_;
    Buffer<float> rows_;
};

inline std::unique_ptr<Filtering> BruteForce::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
