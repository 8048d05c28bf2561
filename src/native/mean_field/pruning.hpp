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

// Bounds of the largest ratio of a label's probability to that of the point's likeliest label.
struct PruningBounds {
    PruningBounds(float prune, const std::vector<Term>& terms)
        : PruningBounds(prune,
                        std::accumulate(terms.begin(), terms.end(), 0.0f,
                                        [](float sum, const Term& term) { return sum + term.weight; })) {}

    float image, tile, beside_ruled;

  private:
    static constexpr float kMost = 0.5f, kWithinTile = 0.05f, kUsualWeight = 7.0f;

    // A step adds at most `weight` to a label's score.
    PruningBounds(float prune, float weight)
        // A label that is nowhere above the bound gains less than weight * bound in a step.
        : image(std::min({prune, 1.0f / weight, kMost})),
          // In a tile, fewer points speak for a label than in the image, and more may around it.
          tile(image * kWithinTile * std::min(1.0f, std::exp(1.0f - weight / kUsualWeight))),
          // What rules a tile beside may gain all of the weight at once.
          beside_ruled(std::min(tile, std::exp(-weight))) {}
};

// The ratio from which on a label may spread to the tiles around.
inline constexpr float kRules = 0.5f;

// Returns whether a label is pruned in a tile where its largest ratio is `own`; rules(tile) tells whether it
// reaches kRules in another one.
template <class Rules>
bool leaves_tile(float own, const PruningBounds& bounds, const Tiles& tiles, std::int64_t tile,
                 const Rules& rules) {
    if (!(own < bounds.tile)) return false;
    if (own < bounds.beside_ruled) return true;
    const std::int64_t across = tiles.across();
    for (std::int64_t y = tile / across - 1; y <= tile / across + 1; ++y)
        for (std::int64_t x = tile % across - 1; x <= tile % across + 1; ++x)
            if (x >= 0 && x < across && y >= 0 && y * across + x < tiles.count() && rules(y * across + x))
                return false;
    return true;
}

}  // namespace atrous
