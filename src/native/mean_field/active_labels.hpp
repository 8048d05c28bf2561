// Which labels are probable where in a picture.
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

// Of each tile and column, which stands for a label, the largest ratio of Q to that of a point's likeliest
// label; columns of labels that are improbable everywhere are skipped.
class ActiveLabels {
  public:
    const std::vector<std::int32_t>& kept() const { return kept_; }  // labels, in the order of the columns
    std::int32_t label_of(std::int32_t column) const { return kept_[static_cast<std::size_t>(column)]; }
    std::size_t columns() const { return kept_.size(); }

    // Of a column in a tile the largest ratio, 0 where it has left.
    float& largest(std::int64_t tile, std::size_t column) {
        return largest_[static_cast<std::size_t>(tile) * columns() + column];
    }
    float largest(std::int64_t tile, std::size_t column) const {
        return largest_[static_cast<std::size_t>(tile) * columns() + column];
    }

    const float* plane(const Unary& unary, std::int32_t column) const {
        return unary.values + label_of(column) * unary.label_stride;
    }

    // Looks once through the unary term: checks it, and finds which labels are probable where. Throws
    // std::domain_error where it has values that cannot be used.
    void scan_unary(ThreadPool& pool, const Unary& unary, const Tiles& tiles) {
        kept_.resize(static_cast<std::size_t>(unary.labels));
        std::iota(kept_.begin(), kept_.end(), 0);
        const Kernels& loops = kernels();
        largest_.assign(static_cast<std::size_t>(tiles.count()) * columns(), 0.0f);
        std::vector<const float*> planes;
        for (const std::int32_t label : kept_) planes.push_back(plane(unary, label));
        pool.for_ranges(tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const auto look = [&](std::int64_t begin, std::int64_t count, std::int64_t lines) {
                if (!loops.scan_unary(unary.energies, planes.data(), unary.labels, unary.point_stride, begin,
                                      count, lines, tiles.line(), unary.lowest, unary.highest,
                                      &largest(tile, 0)))
                    throw std::domain_error("values that cannot be used");
            };
            std::int64_t first = 0, wide = 0, lines = 0;  // of those alike
            tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                if (lines > 0 && end - begin == wide) {
                    ++lines;
                    return;
                }
                if (lines > 0) look(first, wide, lines);
                first = begin, wide = end - begin, lines = 1;
            });
            if (lines > 0) look(first, wide, lines);
        });
    }

    // Which columns are improbable in all tiles.
    std::vector<bool> improbable_everywhere(const PruningBounds& bounds) const {
        std::vector<float> most(columns(), 0.0f);
        for (std::size_t at = 0; at < largest_.size(); ++at)
            most[at % columns()] = std::max(most[at % columns()], largest_[at]);
        std::vector<bool> improbable;
        for (const float probability : most) improbable.push_back(probability < bounds.image);
        return improbable;
    }

    // Which of the columns of a tile are left there.
    std::vector<std::int32_t> probable(std::int64_t tile, const std::vector<std::int32_t>& columns,
                                       const std::vector<bool>& improbable, const Tiles& tiles,
                                       const PruningBounds& bounds) const {
        std::vector<std::int32_t> left;
        for (const std::int32_t column : columns) {
            const auto c = static_cast<std::size_t>(column);
            const auto rules = [&](std::int64_t other) { return largest(other, c) >= kRules; };
            if (!improbable[c] && !leaves_tile(largest(tile, c), bounds, tiles, tile, rules))
                left.push_back(column);
        }
        return left;
    }

    // Leaves columns out; tells each one's new number.
    std::vector<std::int32_t> renumber(const std::vector<bool>& absent) {
        std::vector<std::int32_t> number, kept;
        std::vector<float> of_kept;
        for (std::size_t c = 0; c < columns(); ++c) {
            number.push_back(static_cast<std::int32_t>(kept.size()));
            if (!absent[c]) kept.push_back(kept_[c]);
        }
        for (std::size_t at = 0; at < largest_.size(); ++at)
            if (!absent[at % columns()]) of_kept.push_back(largest_[at]);
        kept_ = std::move(kept);
        largest_ = std::move(of_kept);
        return number;
    }

  private:
    std::vector<std::int32_t> kept_;
    std::vector<float> largest_;  // [tile][column]
};

}  // namespace atrous
