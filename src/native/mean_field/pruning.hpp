// Bounds below which labels are pruned, in the image or in a tile.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "mean_field/types.hpp"
#include "tile_order.hpp"

namespace atrous {

// Bounds of a label's largest ratio to the most probable label of a point, below which it is pruned: in the
// image, in a tile, and in a tile next to one where it dominates.
struct PruningBounds {
    PruningBounds(float prune, const std::vector<Term>& terms)
        : PruningBounds(prune,
                        std::accumulate(terms.begin(), terms.end(), 0.0f,
                                        [](float sum, const Term& term) { return sum + term.weight; })) {}

    float image, tile, beside_dominant;

  private:
    static constexpr float kMost = 0.5f, kWithinTile = 0.05f, kUsualWeight = 7.0f;

    // A step adds at most `weight` to a label's score.
    PruningBounds(float prune, float weight)
        // A label that is below the bound everywhere gains less than weight * bound in a step.
        : image(std::min({prune, 1.0f / weight, kMost})),
          // Lower than in the image, because the label may be more probable around the tile.
          tile(image * kWithinTile * std::min(1.0f, std::exp(1.0f - weight / kUsualWeight))),
          // A label that dominates an adjacent tile may gain the whole weight in one step.
          beside_dominant(std::min(tile, std::exp(-weight))) {}
};

// Ratio from which on a label dominates a tile, and may spread to the adjacent ones.
inline constexpr float kDominant = 0.5f;

// Returns whether a label with the largest ratio `own` in a tile is pruned there; dominates(tile) returns
// whether it reaches kDominant in another tile.
template <class Dominates>
bool is_pruned_in_tile(float own, const PruningBounds& bounds, const Tiles& tiles, std::int64_t tile,
                       const Dominates& dominates) {
    if (!(own < bounds.tile)) return false;
    if (own < bounds.beside_dominant) return true;
    const std::int64_t across = tiles.across();
    for (std::int64_t y = tile / across - 1; y <= tile / across + 1; ++y)
        for (std::int64_t x = tile % across - 1; x <= tile % across + 1; ++x)
            if (x >= 0 && x < across && y >= 0 && y * across + x < tiles.count() && dominates(y * across + x))
                return false;
    return true;
}

}  // namespace atrous
