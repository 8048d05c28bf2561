// Mean field inference in a fully connected CRF (Kraehenbuehl and Koltun 2011; Chen et al. 2015, section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"

namespace atrous {

// One kernel's part in the CRF: scores += after * (G . K (before * Q)), where before and after scale pixels
// (normalisation and weight) and G mixes labels.
struct Term {
    std::shared_ptr<const Filter> filter;
    std::vector<float> before;  // empty: ones
    std::vector<float> after;
    std::vector<float> gains;  // one for each label, or a matrix [from label][to label]; empty: ones
};

class MeanField {
  public:
    MeanField(std::int64_t points, std::int64_t labels)
        : points_(points), labels_(labels), width_(padded_width(labels)), loops_(inner_loops()) {}

    void add(Term term) {
        const auto labels = static_cast<std::size_t>(labels_), width = static_cast<std::size_t>(width_);
        const bool matrix = term.gains.size() == labels * labels && labels > 1;
        std::vector<float> padded(matrix ? labels * width : width, 0.0f);
        if (term.gains.empty()) {
            std::fill_n(padded.begin(), labels, 1.0f);
        } else {
            for (std::size_t row = 0; row < (matrix ? labels : 1); ++row)
                std::copy_n(term.gains.begin() + static_cast<std::ptrdiff_t>(row * labels), labels,
                            padded.begin() + static_cast<std::ptrdiff_t>(row * width));
        }
        term.gains = std::move(padded);
        terms_.push_back(std::move(term));
        matrix_.push_back(matrix);
    }

    // planes: `labels` rows of `points` energies, or of probabilities. Leaves Q in rows of width().
    void infer(Team& team, const float* planes, bool energies, int iterations) {
        const auto size = static_cast<std::size_t>(points_ * width_);
        const std::int64_t chunk = chunk_of_pixels(width_);
        probabilities_ = Buffer<float>(size);
        Buffer<float> unary(size), scaled;
        std::vector<std::unique_ptr<Filtering>> filterings;
        for (const Term& term : terms_) {
            filterings.push_back(term.filter->start(width_));
            if (!term.before.empty() && scaled.size() == 0) scaled = Buffer<float>(size);
        }

        team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
            Buffer<float> scores(static_cast<std::size_t>(chunk * width_));
            loops_.scores(energies, planes, labels_, points_, begin, end - begin,
                          unary.data() + begin * width_, width_);
            std::copy_n(unary.data() + begin * width_, (end - begin) * width_, scores.data());
            loops_.softmax(end - begin, scores.data(), probabilities_.data() + begin * width_, width_);
        });

        for (int iteration = 0; iteration < iterations; ++iteration) {
            for (std::size_t t = 0; t < terms_.size(); ++t) {
                const float* rows = probabilities_.data();
                if (!terms_[t].before.empty()) {
                    team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
                        loops_.scale(end - begin, terms_[t].before.data() + begin, rows + begin * width_,
                                     scaled.data() + begin * width_, width_);
                    });
                    rows = scaled.data();
                }
                filterings[t]->take(team, rows);
            }
            team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
                const std::int64_t count = end - begin;
                Buffer<float> scores(static_cast<std::size_t>(chunk * width_));
                Buffer<float> scratch(static_cast<std::size_t>(chunk * width_));
                std::copy_n(unary.data() + begin * width_, count * width_, scores.data());
                for (std::size_t t = 0; t < terms_.size(); ++t) {
                    const float* after = terms_[t].after.data() + begin;
                    const float* gains = terms_[t].gains.data();
                    const float* message = filterings[t]->read(begin, end, scratch.data());
                    if (matrix_[t])
                        loops_.add_product(count, after, gains, message, labels_, scores.data(), width_);
                    else
                        loops_.add(count, after, gains, message, scores.data(), width_);
                }
                loops_.softmax(count, scores.data(), probabilities_.data() + begin * width_, width_);
            });
        }
    }

    // out: `labels` rows of `points` probabilities.
    void probabilities(Team& team, float* out) const {
        const std::int64_t chunk = chunk_of_pixels(width_);
        team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t c = 0; c < labels_; ++c)
                for (std::int64_t p = begin; p < end; ++p)
                    out[c * points_ + p] = probabilities_[static_cast<std::size_t>(p * width_ + c)];
        });
    }

    // The most probable label of each point; of equals the first.
    void labels(Team& team, std::int32_t* out) const {
        team.for_ranges(points_, chunk_of_pixels(width_), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t p = begin; p < end; ++p) {
                const float* row = probabilities_.data() + p * width_;
                std::int32_t best = 0;
                for (std::int32_t c = 1; c < labels_; ++c)
                    if (row[c] > row[best]) best = c;
                out[p] = best;
            }
        });
    }

  private:
    std::int64_t points_, labels_, width_;
    const InnerLoops& loops_;
    std::vector<Term> terms_;
    std::vector<bool> matrix_;
    Buffer<float> probabilities_;
};

// K * rows for values given as `labels` planes: to find normalisers, and to test filters.
inline void apply(Team& team, const Filter& filter, const float* planes, std::int64_t labels, float* out) {
    const std::int64_t points = filter.points(), width = padded_width(labels);
    const std::int64_t chunk = chunk_of_pixels(width);
    Buffer<float> rows(static_cast<std::size_t>(points * width));
    team.for_ranges(points, chunk, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p)
            for (std::int64_t c = 0; c < width; ++c)
                rows[static_cast<std::size_t>(p * width + c)] = c < labels ? planes[c * points + p] : 0.0f;
    });
    const auto filtering = filter.start(width);
    filtering->take(team, rows.data());
    team.for_ranges(points, chunk, [&](std::int64_t begin, std::int64_t end) {
        Buffer<float> scratch(static_cast<std::size_t>(chunk * width));
        const float* filtered = filtering->read(begin, end, scratch.data());
        for (std::int64_t p = begin; p < end; ++p)
            for (std::int64_t c = 0; c < labels; ++c)
                out[c * points + p] = filtered[static_cast<std::size_t>((p - begin) * width + c)];
    });
}

}  // namespace atrous
