// A term's filter at work in an inference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "filter.hpp"
#include "inner_loops.hpp"
#include "model.hpp"

namespace atrous {

// Filters rows of Q, or of before * Q where the term has a before.
class TermFiltering {
  public:
    // The term must outlive it.
    TermFiltering(const Term& term, std::int64_t width)
        : term_(term),
          width_(width),
          filtering_(term.filter->start(width, term.before.empty() && term.float16)),
          scaled_(term.before.empty() ? 0 : static_cast<std::size_t>(term.filter->points() * width)) {}

    const Term& term() const { return term_; }
    Filtering& filtering() const { return *filtering_; }

    // Takes in a tile's rows of a new Q as soon as they are there: the cache still holds them. Not where they
    // are scaled, since the rows scaled before may still be read.
    void put_new(std::int64_t tile, const float* q, float* scratch) const {
        if (!scales()) filtering_->put(tile, q, scratch);
    }

    // Filters all rows. put: put_new has had them all; scratch(worker): that worker's.
    template <class Scratch>
    void filter(Team& team, const float* q, bool put, const Scratch& scratch) {
        const float* rows = scales() ? scaled_.data() : q;
        if (!put || scales())
            team.for_ranges(tiles().count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
                if (scales()) scale(tile, q);
                filtering_->put(tile, rows, scratch(worker));
            });
        filtering_->spread(team, rows);
    }

  private:
    bool scales() const { return !term_.before.empty(); }
    const Tiles& tiles() const { return term_.filter->tiles(); }

    void scale(std::int64_t tile, const float* q) {
        tiles().segments(tile, [&](std::int64_t begin, std::int64_t end) {
            loops_.scale(end - begin, term_.before.data() + begin, q + begin * width_,
                         scaled_.data() + begin * width_, width_);
        });
    }

    const Term& term_;
    std::int64_t width_;
    std::unique_ptr<Filtering> filtering_;
    Buffer<float> scaled_;
    const InnerLoops& loops_ = inner_loops();
};

}  // namespace atrous
