// Filtering of one CRF term during an inference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"

namespace atrous {

// Filters Q, multiplied by `pre_scale` if the term has one.
class TermFilter {
  public:
    // The term must outlive it. transposed: filters with the transpose of K.
    TermFilter(const Term& term, std::int64_t width, bool transposed = false)
        : term_(term),
          width_(width),
          filtering_(transposed ? term.filter->start_transposed(width)
                                : term.filter->start(width, term.pre_scale.empty() && term.float16)),
          scaled_(term.pre_scale.empty() ? 0 : static_cast<std::size_t>(term.filter->points() * width)) {}

    const Term& term() const { return term_; }
    Filtering& filtering() const { return *filtering_; }

    // Splats a tile's new Q while it is in cache. Does nothing for terms with `pre_scale`, whose scaled rows
    // may still be in use.
    void splat_new(std::int64_t tile, const float* q, float* scratch) const {
        if (!scales()) filtering_->splat(tile, q, scratch);
    }

    // Filters all rows. already_splatted: splat_new has been called for every tile. scratch(worker) returns
    // that worker's scratch.
    template <class Scratch>
    void filter(ThreadPool& pool, const float* q, bool already_splatted, const Scratch& scratch) {
        const float* rows = scales() ? scaled_.data() : q;
        if (!already_splatted || scales())
            pool.for_ranges(tiles().count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
                if (scales()) scale(tile, q);
                filtering_->splat(tile, rows, scratch(worker));
            });
        filtering_->blur(pool, rows);
    }

  private:
    bool scales() const { return !term_.pre_scale.empty(); }
    const Tiles& tiles() const { return term_.filter->tiles(); }

    void scale(std::int64_t tile, const float* q) {
        tiles().segments(tile, [&](std::int64_t begin, std::int64_t end) {
            loops_.scale(end - begin, term_.pre_scale.data() + begin, q + begin * width_,
                         scaled_.data() + begin * width_, width_);
        });
    }

    const Term& term_;
    std::int64_t width_;
    std::unique_ptr<Filtering> filtering_;
    Buffer<float> scaled_;
    const Kernels& loops_ = kernels();
};

}  // namespace atrous
