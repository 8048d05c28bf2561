// When a label leaves a tile, or all of them.
#pragma once

#include <cstdint>

#include "tiles.hpp"

namespace atrous {

// Within a tile, where fewer points speak for a label than in the whole image, it must be less probable to
// leave, by this factor.
inline constexpr float kWithinTile = 0.2f;

// Whether a label leaves a tile where its largest probability is `own`: under the bound there. But a label
// that rules points of a tile beside may spread from there, unless it is less probable by much; rules(tile)
// tells whether it does.
template <class Rules>
bool leaves_tile(float own, float bound, const Tiles& tiles, std::int64_t tile, const Rules& rules) {
    constexpr float kBesideRuled = 0.05f;
    if (!(own < bound)) return false;
    if (own < bound * kBesideRuled) return true;
    const std::int64_t across = tiles.across();
    for (std::int64_t y = tile / across - 1; y <= tile / across + 1; ++y)
        for (std::int64_t x = tile % across - 1; x <= tile % across + 1; ++x)
            if (x >= 0 && x < across && y >= 0 && y * across + x < tiles.count() && rules(y * across + x))
                return false;
    return true;
}

// The probability with which a label rules a point.
inline constexpr float kRules = 0.5f;

}  // namespace atrous
