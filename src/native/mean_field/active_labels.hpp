// Active labels per tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mean_field/pruning.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"
#include "thread_pool.hpp"
#include "tile_order.hpp"

namespace atrous {

// Columns of the labels that are active in some tile, and for each tile and column the largest ratio of a
// point's Q to that of its most probable label.
class ActiveLabels {
  public:
    const std::vector<std::int32_t>& labels() const { return labels_; }  // in the order of the columns
    std::int32_t label_of(std::int32_t column) const { return labels_[static_cast<std::size_t>(column)]; }
    std::size_t columns() const { return labels_.size(); }

    // The largest ratio of a column in a tile; 0 if it is pruned there.
    float& largest(std::int64_t tile, std::size_t column) {
        return largest_[static_cast<std::size_t>(tile) * columns() + column];
    }
    float largest(std::int64_t tile, std::size_t column) const {
        return largest_[static_cast<std::size_t>(tile) * columns() + column];
    }

    const float* plane(const Unary& unary, std::int32_t column) const {
        return unary.values + label_of(column) * unary.label_stride;
    }

    // Reads the unary term once: checks it and computes the largest ratios. Throws std::domain_error if it
    // has invalid values.
    void scan_unary(ThreadPool& pool, const Unary& unary, const Tiles& tiles) {
        labels_.resize(static_cast<std::size_t>(unary.labels));
        std::iota(labels_.begin(), labels_.end(), 0);
        const Kernels& loops = kernels();
        largest_.assign(static_cast<std::size_t>(tiles.count()) * columns(), 0.0f);
        std::vector<const float*> planes;
        for (const std::int32_t label : labels_) planes.push_back(plane(unary, label));
        pool.for_ranges(tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const auto scan = [&](std::int64_t begin, std::int64_t count, std::int64_t lines) {
                if (!loops.scan_unary(unary.energies, planes.data(), unary.labels, unary.point_stride, begin,
                                      count, lines, tiles.line(), unary.lowest, unary.highest,
                                      &largest(tile, 0)))
                    throw std::domain_error("invalid values");
            };
            std::int64_t first = 0, wide = 0, lines = 0;  // of lines of one length
            tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                if (lines > 0 && end - begin == wide) {
                    ++lines;
                    return;
                }
                if (lines > 0) scan(first, wide, lines);
                first = begin, wide = end - begin, lines = 1;
            });
            if (lines > 0) scan(first, wide, lines);
        });
    }

    // Returns for each column whether it is improbable in all tiles.
    std::vector<bool> improbable_everywhere(const PruningBounds& bounds) const {
        std::vector<float> most(columns(), 0.0f);
        for (std::size_t at = 0; at < largest_.size(); ++at)
            most[at % columns()] = std::max(most[at % columns()], largest_[at]);
        std::vector<bool> improbable;
        for (const float probability : most) improbable.push_back(probability < bounds.image);
        return improbable;
    }

    // Returns the columns of a tile that are not pruned there.
    std::vector<std::int32_t> probable(std::int64_t tile, const std::vector<std::int32_t>& columns,
                                       const std::vector<bool>& improbable, const Tiles& tiles,
                                       const PruningBounds& bounds) const {
        std::vector<std::int32_t> remaining;
        for (const std::int32_t column : columns) {
            const auto c = static_cast<std::size_t>(column);
            const auto dominates = [&](std::int64_t other) { return largest(other, c) >= kDominant; };
            if (!improbable[c] && !is_pruned_in_tile(largest(tile, c), bounds, tiles, tile, dominates))
                remaining.push_back(column);
        }
        return remaining;
    }

    // Removes the absent columns; returns the new number of each column.
    std::vector<std::int32_t> renumber(const std::vector<bool>& absent) {
        std::vector<std::int32_t> number, labels;
        std::vector<float> largest;
        for (std::size_t c = 0; c < columns(); ++c) {
            number.push_back(static_cast<std::int32_t>(labels.size()));
            if (!absent[c]) labels.push_back(labels_[c]);
        }
        for (std::size_t at = 0; at < largest_.size(); ++at)
            if (!absent[at % columns()]) largest.push_back(largest_[at]);
        labels_ = std::move(labels);
        largest_ = std::move(largest);
        return number;
    }

  private:
    std::vector<std::int32_t> labels_;
    std::vector<float> largest_;  // [tile][column]
};

}  // namespace atrous
