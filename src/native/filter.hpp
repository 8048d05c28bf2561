// What the mean field multiplies by.
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

// Pixels handled together, so that what is computed of them stays in the first-level cache.
inline std::int64_t chunk_of_pixels(std::int64_t width) {
    return std::clamp<std::int64_t>(4096 / width, 1, 256);
}

// The filtering of one set of rows after the other, which one has to put in tile by tile and to spread before
// it can be read. Holds the buffers, so that a Filter itself never changes and may serve several Python
// threads at once.
class Filtering {
  public:
    virtual ~Filtering() = default;

    // Takes in the rows of a tile's points; `rows` begins with the first of all points. Writes on the
    // thread's scratch.
    virtual void splat(std::int64_t tile, const float* rows, float* scratch) = 0;

    // After all tiles are put. The rows must not change until the last is read; meanwhile the next ones can
    // be put.
    virtual void blur(ThreadPool& pool, const float* rows) = 0;

    // Floats that a thread needs to read a tile.
    virtual std::size_t scratch() const { return 0; }

    // Before the points of a tile are read, from its first to its last: prepares the thread's scratch.
    virtual void begin_tile(std::int64_t tile, float* scratch) const = 0;

    // The filtered rows of the points [begin, end) of the tile visited, which are `place` points after its
    // first one: in `out`, or elsewhere until the next visit.
    virtual const float* slice(std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end,
                               float* scratch, float* out) const = 0;
};

class FilterState;

// A Gaussian kernel matrix K over the points, or an approximation of it, ready to multiply.
class Filter {
  public:
    virtual ~Filter() = default;
    virtual const Tiles& tiles() const = 0;
    std::int64_t points() const { return tiles().points(); }

    // probabilities: all values are between 0 and 1, and it is enough to tell them apart in steps of a
    // thousandth.
    virtual std::unique_ptr<Filtering> start(std::int64_t width, bool probabilities) const = 0;

    // Whether K equals its transpose.
    virtual bool symmetric() const { return true; }
    // As `start`, for the transpose of K.
    virtual std::unique_ptr<Filtering> start_transposed(std::int64_t width) const {
        return start(width, false);
    }

    // For rows that are kept tile by tile (sparse_label_tiles.hpp), of `width` columns in all, where that is
    // possible. float16: as for start's probabilities. pre_scale: a factor for each point's row, or null.
    virtual bool takes_tiles() const { return false; }
    virtual std::unique_ptr<FilterState> start_tiles(std::int64_t width, bool float16,
                                                     const float* pre_scale) const;
};

// Calls open(tile, worker) for each tile and, unless it returns false, body(tile, place, begin, end, worker)
// for its runs of points, cut into chunks, and close(tile, worker); place counts the tile's points before the
// chunk.
template <class Open, class Body, class Close>
void for_chunks(ThreadPool& pool, const Tiles& tiles, std::int64_t chunk, const Open& open, const Body& body,
                const Close& close) {
    pool.for_ranges(tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
        if (!open(tile, worker)) return;
        std::int64_t place = 0;
        tiles.segments(tile, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t begin = first; begin < last; begin += chunk) {
                const std::int64_t end = std::min(last, begin + chunk);
                if (worker == 0) pool.poll();  // a tile may take long: the exact kernel looks at all points
                body(tile, place, begin, end, worker);
                place += end - begin;
            }
        });
        close(tile, worker);
    });
}

}  // namespace atrous
