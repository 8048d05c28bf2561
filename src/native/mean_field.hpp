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

    // The term must outlive the inference.
    void add(const Term& term) {
        const auto labels = static_cast<std::size_t>(labels_), width = static_cast<std::size_t>(width_);
        const bool matrix = labels > 1 && term.gains.size() == labels * labels;
        std::vector<float> padded(matrix ? labels * width : width, 0.0f);
        if (term.gains.empty()) std::fill_n(padded.begin(), labels, 1.0f);
        for (std::size_t g = 0; g < term.gains.size(); ++g)
            padded[g / labels * width + g % labels] = term.gains[g];
        parts_.push_back({term, std::move(padded), matrix, term.filter->start(width_)});
    }

    // planes: `labels` rows of `points` energies, or of probabilities. Leaves Q in rows of width().
    void infer(Team& team, const float* planes, bool energies, int iterations) {
        const auto size = static_cast<std::size_t>(points_ * width_);
        const std::int64_t chunk = chunk_of_pixels(width_);
        probabilities_ = Buffer<float>(size);
        Buffer<float> unary(size), scaled;
        for (const Part& part : parts_)
            if (!part.term.before.empty() && scaled.size() == 0) scaled = Buffer<float>(size);

        team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
            Buffer<float> scores(static_cast<std::size_t>(chunk * width_));
            loops_.scores(energies, planes, labels_, points_, begin, end - begin,
                          unary.data() + begin * width_, width_);
            std::copy_n(unary.data() + begin * width_, (end - begin) * width_, scores.data());
            loops_.softmax(end - begin, scores.data(), probabilities_.data() + begin * width_, width_);
        });

        for (int iteration = 0; iteration < iterations; ++iteration) {
            for (const Part& part : parts_) {
                const float* rows = probabilities_.data();
                if (!part.term.before.empty()) {
                    team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
                        loops_.scale(end - begin, part.term.before.data() + begin, rows + begin * width_,
                                     scaled.data() + begin * width_, width_);
                    });
                    rows = scaled.data();
                }
                part.filtering->take(team, rows);
            }
            team.for_ranges(points_, chunk, [&](std::int64_t begin, std::int64_t end) {
                const std::int64_t count = end - begin;
                Buffer<float> scores(static_cast<std::size_t>(chunk * width_));
                Buffer<float> scratch(static_cast<std::size_t>(chunk * width_));
                std::copy_n(unary.data() + begin * width_, count * width_, scores.data());
                for (const Part& part : parts_) {
                    const float* message = part.filtering->read(begin, end, scratch.data());
                    const float* after = part.term.after.data() + begin;
                    if (part.matrix)
                        loops_.add_product(count, after, part.gains.data(), message, labels_, scores.data(),
                                           width_);
                    else
                        loops_.add(count, after, part.gains.data(), message, scores.data(), width_);
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
    struct Part {
        const Term& term;
        std::vector<float> gains;  // padded to the width
        bool matrix;
        std::unique_ptr<Filtering> filtering;
    };

    std::int64_t points_, labels_, width_;
    const InnerLoops& loops_;
    std::vector<Part> parts_;
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
