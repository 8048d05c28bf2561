// Rows of the points that are kept tile by tile, each tile with the labels that are probable in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "filter.hpp"
#include "tile_order.hpp"

namespace atrous {

// One tile's rows. Which columns they have is counted among those of all tiles.
struct LabelTile {
    std::vector<std::int32_t> columns;  // in ascending order
    std::int64_t width = 0;             // floats in a row; 0: there are none, and the one column is of ones
    std::size_t start = 0;              // of its rows within those of all tiles

    // Whether the columns lie as they do in rows of all columns.
    bool alike(std::int64_t whole) const {
        return width == whole && columns.back() == static_cast<std::int32_t>(columns.size()) - 1;
    }
    bool decided() const { return columns.size() == 1; }  // all rows are 1
    std::int64_t count() const { return static_cast<std::int64_t>(columns.size()); }

    // Where the columns of `other` are among its own; -1: nowhere.
    std::vector<std::int32_t> places_of(const std::vector<std::int32_t>& other) const {
        std::vector<std::int32_t> places;
        std::size_t at = 0;
        for (const std::int32_t column : other) {
            while (at < columns.size() && columns[at] < column) ++at;
            const bool found = at < columns.size() && columns[at] == column;
            places.push_back(found ? static_cast<std::int32_t>(at) : -1);
        }
        return places;
    }
};

struct SparseLabelTiles {
    Tiles tiles;
    std::vector<LabelTile> of_tile;

    const LabelTile& operator[](std::int64_t tile) const { return of_tile[static_cast<std::size_t>(tile)]; }
    LabelTile& operator[](std::int64_t tile) { return of_tile[static_cast<std::size_t>(tile)]; }
    std::int64_t points(std::int64_t tile) const { return tiles.offset(tile + 1) - tiles.offset(tile); }
};

// What Filtering does for rows of one width, for label_tiles. `rows` are those of all tiles.
class FilterState {
  public:
    virtual ~FilterState() = default;

    // Floats that a thread needs for a tile whose rows are `width` floats.
    virtual std::size_t scratch(std::int64_t width) const = 0;

    // Takes in a tile's rows.
    virtual void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
                       float* scratch) = 0;

    // The tiles to be put have fewer columns in all from now on.
    virtual void narrow(std::int64_t width) = 0;

    // Whether rows must not change between spreading and the last reading.
    virtual bool reads_rows() const { return false; }

    // After all tiles are put.
    virtual void blur(ThreadPool& pool) = 0;

    // Before a tile's points are read, which is done line by line.
    virtual void begin_tile(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows,
                            float* scratch) const = 0;

    // The filtered rows of the points [begin, end), `place` points after the tile's first: in `out`, or
    // elsewhere until the next visit.
    virtual const float* slice(const SparseLabelTiles& label_tiles, std::int64_t tile, std::int64_t place,
                               std::int64_t begin, std::int64_t end, float* scratch, float* out) const = 0;
};

inline std::unique_ptr<FilterState> Filter::start_tiles(std::int64_t, bool, const float*) const {
    return nullptr;
}

}  // namespace atrous
