// Exact kernel between all pairs of points, in quadratic time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "filter.hpp"
#include "simd/kernels.hpp"

namespace atrous {

class BruteForce final : public Filter {
  public:
    // features: `dimensions` rows of `points` floats.
    BruteForce(const float* features, int dimensions, const Tiles& tiles)
        : dimensions_(dimensions),
          tiles_(tiles),
          features_(static_cast<std::size_t>(dimensions * tiles.points())),
          loops_(kernels()) {
        std::copy_n(features, features_.size(), features_.data());
    }

    const Tiles& tiles() const override { return tiles_; }
    std::unique_ptr<Filtering> start(std::int64_t width, bool probabilities) const override;

  private:
    class Run;

    int dimensions_;
    Tiles tiles_;
    Buffer<float> features_;
    const Kernels& loops_;
};

class BruteForce::Run final : public Filtering {
  public:
    Run(const BruteForce& filter, std::int64_t width) : filter_(filter), width_(width) {}

    void splat(std::int64_t, const float*, float*) override {}
    void blur(ThreadPool&, const float* rows) override { rows_ = rows; }
    void begin_tile(std::int64_t, float*) const override {}

    const float* slice(std::int64_t, std::int64_t, std::int64_t begin, std::int64_t end, float*,
                       float* out) const override {
        filter_.loops_.brute_force(filter_.dimensions_, filter_.features_.data(), filter_.points(), begin,
                                   end, rows_, out, width_);
        return out;
    }

  private:
    const BruteForce& filter_;
    std::int64_t width_;
    const float* rows_ = nullptr;
};

inline std::unique_ptr<Filtering> BruteForce::start(std::int64_t width, bool) const {
    return std::make_unique<Run>(*this, width);
}

}  // namespace atrous
