// Filter interface: multiplication of rows by a kernel matrix K.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "thread_pool.hpp"
#include "tile_order.hpp"

namespace atrous {

// Floats in a row of `labels` values: see kernels.hpp.
inline std::int64_t padded_width(std::int64_t labels) {
    return labels <= 4 ? 4 : (labels + 7) / 8 * 8;
}

// Pixels computed together, so that their rows stay in the first-level cache.
inline std::int64_t chunk_of_pixels(std::int64_t width) {
    return std::clamp<std::int64_t>(4096 / width, 1, 256);
}

// One filtering after the other: splat every tile, then blur, then slice. Holds the buffers, so that a Filter
// is constant and may serve several Python threads at once. For rows with all columns: BinaryMeanField,
// RecordedMeanField and `apply` use it. MeanField, whose tiles have different columns, uses FilterState
// (sparse_label_tiles.hpp).
class Filtering {
  public:
    virtual ~Filtering() = default;

    // Splats the rows of a tile's points; `rows` begins with those of the first of all points. Writes to the
    // worker's scratch.
    virtual void splat(std::int64_t tile, const float* rows, float* scratch) = 0;

    // Blurs, after all tiles are splatted. The rows must not change until the last slice; meanwhile the next
    // rows may be splatted.
    virtual void blur(ThreadPool& pool, const float* rows) = 0;

    // Floats of scratch memory that a worker needs.
    virtual std::size_t scratch() const { return 0; }

    // Prepares the worker's scratch for the slices of a tile, which go from its first point to its last.
    virtual void begin_tile(std::int64_t tile, float* scratch) const = 0;

    // Returns the filtered rows of the points [begin, end), the first of which is point `place` of the tile:
    // in `out`, or in a buffer that is valid until the next begin_tile with the same scratch.
    virtual const float* slice(std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end,
                               float* scratch, float* out) const = 0;
};

class FilterState;

// Gaussian kernel matrix K over the points, or an approximation of it.
class Filter {
  public:
    virtual ~Filter() = default;
    virtual const Tiles& tiles() const = 0;
    std::int64_t points() const { return tiles().points(); }

    // Starts a filtering of rows of `width` floats. probabilities: all values are between 0 and 1, and an
    // error of a thousandth is acceptable.
    virtual std::unique_ptr<Filtering> start(std::int64_t width, bool probabilities) const = 0;

    // Whether K equals its transpose.
    virtual bool symmetric() const { return true; }
    // As `start`, for the transpose of K.
    virtual std::unique_ptr<Filtering> start_transposed(std::int64_t width) const {
        return start(width, false);
    }

    // Whether start_tiles works, which starts a filtering of rows stored tile by tile
    // (sparse_label_tiles.hpp), of up to `width` floats. float16: as `probabilities` of start. pre_scale: a
    // factor for each point, or null.
    virtual bool takes_tiles() const { return false; }
    virtual std::unique_ptr<FilterState> start_tiles(std::int64_t width, bool float16,
                                                     const float* pre_scale) const;
};

// Calls open(tile, worker) for each tile and, unless it returns false, body(tile, place, begin, end, worker)
// for its segments, cut into chunks, and close(tile, worker). A chunk's first point is point `place` of the
// tile.
template <class Open, class Body, class Close>
void for_chunks(ThreadPool& pool, const Tiles& tiles, std::int64_t chunk, const Open& open, const Body& body,
                const Close& close) {
    pool.for_ranges(tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
        if (!open(tile, worker)) return;
        std::int64_t place = 0;
        tiles.segments(tile, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t begin = first; begin < last; begin += chunk) {
                const std::int64_t end = std::min(last, begin + chunk);
                if (worker == 0) pool.poll();  // a tile may take long: the exact kernel reads all points
                body(tile, place, begin, end, worker);
                place += end - begin;
            }
        });
        close(tile, worker);
    });
}

}  // namespace atrous
