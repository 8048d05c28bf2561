// What the mean field asks of a kernel.
#pragma once

#include <cstdint>
#include <memory>

#include "inner_loops.hpp"
#include "parallel.hpp"

namespace atrous {

// Floats in a row of `labels` values: see inner_loops.hpp.
inline std::int64_t padded_width(std::int64_t labels) {
    return labels <= 4 ? 4 : (labels + 7) / 8 * 8;
}

// Pixels handled together, so that what is computed of them stays in the first-level cache.
inline std::int64_t chunk_of_pixels(std::int64_t width) {
    return std::clamp<std::int64_t>(4096 / width, 1, 256);
}

// The filtering of one set of rows at a time; holds the buffers, so that a Filter itself never changes
// and may serve several Python threads at once.
class Filtering {
  public:
    virtual ~Filtering() = default;

    // Takes in the rows of all pixels; they may be overwritten afterwards.
    virtual void take(Team& team, const float* rows) = 0;

    // The filtered rows of the pixels [begin, end): in `scratch`, or where they lie already.
    virtual const float* read(std::int64_t begin, std::int64_t end, float* scratch) const = 0;
};

// A Gaussian kernel matrix K over the pixels, or an approximation of it, ready to multiply.
class Filter {
  public:
    virtual ~Filter() = default;
    virtual std::int64_t points() const = 0;
    virtual std::unique_ptr<Filtering> start(std::int64_t width) const = 0;
};

}  // namespace atrous
