// Features of the points.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd/kernels.hpp"
#include "thread_pool.hpp"
#include "tile_order.hpp"

namespace atrous {

// Features divided by their standard deviations.
class Features {
  public:
    virtual ~Features() = default;
    virtual int dimensions() const = 0;
    virtual const Tiles& tiles() const = 0;

    // Writes the features of the points [begin, begin + count); count <= kSimplexBlock.
    virtual void read(std::int64_t begin, int count, FeatureBlock& block) const = 0;

    // Writes bounds of each feature; NaN or infinite if a value is.
    virtual void range(ThreadPool& pool, float* low, float* high) const = 0;
};

// Feature by feature in an array of `dimensions` rows.
class ArrayFeatures final : public Features {
  public:
    ArrayFeatures(const float* values, int dimensions, const Tiles& tiles)
        : values_(values), dimensions_(dimensions), tiles_(tiles) {}

    int dimensions() const override { return dimensions_; }
    const Tiles& tiles() const override { return tiles_; }

    void read(std::int64_t begin, int count, FeatureBlock& block) const override {
        for (int i = 0; i < dimensions_; ++i)
            std::copy_n(values_ + i * tiles_.points() + begin, count, block.at[i]);
    }

    void range(ThreadPool& pool, float* low, float* high) const override {
        constexpr std::int64_t kGrain = 1 << 16;
        const std::int64_t ranges = (tiles_.points() + kGrain - 1) / kGrain;
        const auto size = static_cast<std::size_t>(ranges * dimensions_);
        std::vector<float> lowest(size), highest(size), odds(size);
        pool.for_ranges(tiles_.points(), kGrain, [&](std::int64_t begin, std::int64_t end) {
            for (int i = 0; i < dimensions_; ++i) {
                const float* values = values_ + i * tiles_.points();
                float least = values[begin], most = values[begin], odd = 0.0f;
                for (std::int64_t p = begin; p < end; ++p) {
                    least = std::min(least, values[p]);
                    most = std::max(most, values[p]);
                    odd += values[p] * 0.0f;  // NaN if one of them is NaN or infinite
                }
                const auto at = static_cast<std::size_t>(begin / kGrain * dimensions_ + i);
                lowest[at] = least;
                highest[at] = most;
                odds[at] = odd;
            }
        });
        for (int i = 0; i < dimensions_; ++i) {
            float odd = 0.0f;
            low[i] = lowest[static_cast<std::size_t>(i)];
            high[i] = highest[static_cast<std::size_t>(i)];
            for (auto at = static_cast<std::size_t>(i); at < size;
                 at += static_cast<std::size_t>(dimensions_)) {
                low[i] = std::min(low[i], lowest[at]);
                high[i] = std::max(high[i], highest[at]);
                odd += odds[at];
            }
            low[i] += odd;
            high[i] += odd;
        }
    }

  private:
    const float* values_;
    int dimensions_;
    Tiles tiles_;
};

// Position and color of an image's pixels: x, y, red, green, blue.
class ImageFeatures final : public Features {
  public:
    static constexpr int kColors = 3, kValues = 256;

    // image: `height` lines of `width` pixels.
    ImageFeatures(const std::uint8_t* image, std::int64_t height, std::int64_t width, double sx, double sy,
                  const std::vector<double>& srgb)
        : image_(image), tiles_(height * width, width), height_(height), sy_(sy) {
        for (int c = 0; c < kColors; ++c) {
            const auto sigma = static_cast<float>(srgb[static_cast<std::size_t>(c)]);
            for (int v = 0; v < kValues; ++v) color_[c][v] = static_cast<float>(v) / sigma;
        }
        for (std::int64_t x = 0; x < width; ++x)
            across_.push_back(static_cast<float>(static_cast<double>(x) / sx));
    }

    int dimensions() const override { return 2 + kColors; }
    const Tiles& tiles() const override { return tiles_; }

    void read(std::int64_t begin, int count, FeatureBlock& block) const override {
        const std::uint8_t* pixels = image_ + kColors * begin;
        const auto width = static_cast<std::int64_t>(across_.size());
        for (int p = 0; p < count;) {  // as many lines as the points lie in
            const std::int64_t x = (begin + p) % width;
            const auto run = static_cast<int>(std::min<std::int64_t>(count - p, width - x));
            std::copy_n(across_.data() + x, run, block.at[0] + p);
            std::fill_n(block.at[1] + p, run, down((begin + p) / width));
            p += run;
        }
        for (int c = 0; c < kColors; ++c)
            for (int p = 0; p < count; ++p) block.at[2 + c][p] = color_[c][pixels[kColors * p + c]];
    }

    void range(ThreadPool&, float* low, float* high) const override {
        std::fill_n(low, dimensions(), 0.0f);
        high[0] = across_.back();
        high[1] = down(height_ - 1);
        for (int c = 0; c < kColors; ++c) high[2 + c] = color_[c][kValues - 1];
    }

  private:
    float down(std::int64_t y) const { return static_cast<float>(static_cast<double>(y) / sy_); }

    const std::uint8_t* image_;
    Tiles tiles_;
    std::int64_t height_;
    double sy_;
    float color_[kColors][kValues];
    std::vector<float> across_;
};

}  // namespace atrous
