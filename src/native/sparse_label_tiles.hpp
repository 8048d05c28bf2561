// Rows of points stored tile by tile, with the labels that are active in each tile only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "filter.hpp"
#include "tile_order.hpp"

namespace atrous {

// Rows of one tile. Its columns are numbered like those of all tiles.
struct LabelTile {
    std::vector<std::int32_t> columns;  // in ascending order
    std::int64_t width = 0;             // floats in a row; 0: no rows, since the only column is of ones
    std::size_t start = 0;              // offset of its rows in those of all tiles

    // Whether its rows equal rows of all columns, `whole` floats wide.
    bool has_all_columns(std::int64_t whole) const {
        return width == whole && columns.back() == static_cast<std::int32_t>(columns.size()) - 1;
    }
    bool decided() const { return columns.size() == 1; }  // one label, of probability 1
    std::int64_t count() const { return static_cast<std::int64_t>(columns.size()); }

    // Positions of the columns of `other` among its own; -1 for columns that it lacks.
    std::vector<std::int32_t> source_columns(const std::vector<std::int32_t>& other) const {
        std::vector<std::int32_t> sources;
        std::size_t at = 0;
        for (const std::int32_t column : other) {
            while (at < columns.size() && columns[at] < column) ++at;
            const bool present = at < columns.size() && columns[at] == column;
            sources.push_back(present ? static_cast<std::int32_t>(at) : -1);
        }
        return sources;
    }
};

struct SparseLabelTiles {
    Tiles tiles;
    std::vector<LabelTile> of_tile;

    const LabelTile& operator[](std::int64_t tile) const { return of_tile[static_cast<std::size_t>(tile)]; }
    LabelTile& operator[](std::int64_t tile) { return of_tile[static_cast<std::size_t>(tile)]; }
    std::int64_t points(std::int64_t tile) const { return tiles.offset(tile + 1) - tiles.offset(tile); }

    // The widest row of all tiles, and at least the smallest width.
    std::int64_t widest() const {
        std::int64_t widest = 4;
        for (const LabelTile& label_tile : of_tile) widest = std::max(widest, label_tile.width);
        return widest;
    }

    // Most points in a chunk.
    std::int64_t chunk() const { return std::min<std::int64_t>(tiles.width(), 256); }

    // Calls body(place, begin, end) for the lines of a tile, cut into chunks.
    template <class Body>
    void for_chunks_of(std::int64_t tile, const Body& body) const {
        std::int64_t place = 0;
        tiles.segments(tile, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t begin = first; begin < last; begin += chunk()) {
                const std::int64_t end = std::min(last, begin + chunk());
                body(place, begin, end);
                place += end - begin;
            }
        });
    }
};

// As Filtering (filter.hpp), for rows stored tile by tile. MeanField uses it; BinaryMeanField,
// RecordedMeanField and `apply`, whose rows have all columns, use Filtering. `rows` are those of all tiles.
class FilterState {
  public:
    virtual ~FilterState() = default;

    // Floats of scratch memory that a worker needs for tiles with rows of up to `width` floats.
    virtual std::size_t scratch(std::int64_t width) const = 0;

    // Splats the rows of a tile.
    virtual void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
                       float* scratch) = 0;

    // Narrows the filter to rows of `width` floats. All tiles must be splatted again.
    virtual void narrow(std::int64_t width) = 0;

    // Whether the rows must not change between the blur and the last slice.
    virtual bool reads_rows() const { return false; }

    // Blurs, after all tiles are splatted.
    virtual void blur(ThreadPool& pool) = 0;

    // Prepares the worker's scratch for the slices of a tile.
    virtual void begin_tile(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
                            float* scratch) const = 0;

    // Returns the filtered rows of the points [begin, end), the first of which is point `place` of the tile:
    // in `out`, or in a buffer that is valid until the next begin_tile with the same scratch.
    virtual const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t place,
                               std::int64_t begin, std::int64_t end, float* scratch, float* out) const = 0;
};

inline std::unique_ptr<FilterState> Filter::start_tiles(std::int64_t, bool, const float*) const {
    return nullptr;
}

}  // namespace atrous
