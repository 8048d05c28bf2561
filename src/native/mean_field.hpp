// Mean field inference in a fully connected CRF (Kraehenbuehl and Koltun 2011; Chen et al. 2015, section 4).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
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

// What is known of each point alone: energies, or probabilities, of `labels` labels, wherever they lie.
struct Unary {
    const float* values;
    std::int64_t labels, points;
    std::int64_t label_stride, point_stride;
    bool energies;
    float lowest, highest;  // of values that can be used

    const float* at(std::int64_t label, std::int64_t point) const {
        return values + label * label_stride + point * point_stride;
    }
};

struct Settings {
    int iterations = 10;
    // A label whose largest probability is under `prune`, and which is the likeliest of no point, leaves
    // the inference; 0 keeps all.
    float prune = 0.0f;
    float tolerance = 0.0f;  // steps that change no probability by more are the last
    bool trace = false;
};

// What happened.
struct Report {
    int steps = 0;
    std::vector<std::int32_t> kept;       // labels that took part to the end
    std::vector<double> energy, entropy;  // after each step, the first before any; only if traced
};

class MeanField {
  public:
    // The terms must outlive the inference.
    MeanField(const std::vector<Term>& terms, const Unary& unary) : terms_(terms), unary_(unary) {
        kept_.resize(static_cast<std::size_t>(unary.labels));
        std::iota(kept_.begin(), kept_.end(), 0);
    }

    // Throws std::domain_error where the unary term has values that cannot be used.
    Report infer(Team& team, const Settings& settings) {
        Report report;
        survey(team);
        keep_probable(settings.prune);
        begin(team);
        start_filters();
        while (report.steps < settings.iterations) {
            filter(team);
            if (settings.trace) measure(team, report);
            step(team, settings.tolerance);
            ++report.steps;
            if (settings.tolerance > 0 && summary_.change <= settings.tolerance) break;
            if (report.steps < settings.iterations && keep_probable(settings.prune)) shrink(team);
        }
        if (settings.trace) {
            filter(team);
            measure(team, report);
        }
        report.kept = kept_;
        parts_.clear();
        return report;
    }

    // Calls write(label, begin, end, values), values[p - begin] being the probabilities of that label; for
    // all labels, also those that took no part.
    template <class Write>
    void probabilities(Team& team, const Write& write) const {
        std::vector<std::int64_t> column(static_cast<std::size_t>(unary_.labels), -1);
        for (std::size_t k = 0; k < kept_.size(); ++k)
            column[static_cast<std::size_t>(kept_[k])] = static_cast<std::int64_t>(k);
        constexpr std::int64_t kPixels = 1024;
        team.for_ranges(unary_.points, kPixels, [&](std::int64_t begin, std::int64_t end) {
            float values[kPixels];
            for (std::int64_t c = 0; c < unary_.labels; ++c) {
                const std::int64_t from = column[static_cast<std::size_t>(c)];
                for (std::int64_t p = begin; p < end; ++p)
                    values[p - begin] = from < 0 ? 0.0f : q_[static_cast<std::size_t>(p * width_ + from)];
                write(c, begin, end, values);
            }
        });
    }

    // The most probable label of each point; of equals the first.
    void labels(Team& team, std::int32_t* out) const {
        const auto count = static_cast<std::int64_t>(kept_.size());
        team.for_ranges(unary_.points, chunk_of_pixels(width_), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t p = begin; p < end; ++p) {
                const float* row = q_.data() + p * width_;
                std::int64_t best = 0;
                for (std::int64_t c = 1; c < count; ++c)
                    if (row[c] > row[best]) best = c;
                out[p] = kept_[static_cast<std::size_t>(best)];
            }
        });
    }

  private:
    struct Part {
        const Term& term;
        std::vector<float> gains;  // of the labels that are kept, padded to the width
        bool matrix;
        std::unique_ptr<Filtering> filtering;
    };

    // Of Q over all points.
    struct Summary {
        std::vector<float> largest;                                   // of each label
        float least_winner = std::numeric_limits<float>::infinity();  // smallest of the points' largest
        float change = 0.0f;

        explicit Summary(std::size_t labels = 0) : largest(labels, 0.0f) {}
        void add(const Summary& other) {
            for (std::size_t c = 0; c < largest.size(); ++c)
                largest[c] = std::max(largest[c], other.largest[c]);
            least_winner = std::min(least_winner, other.least_winner);
            change = std::max(change, other.change);
        }
    };

    std::int64_t chunk() const { return chunk_of_pixels(width_); }

    // Runs body(begin, end, summary) over chunks of points and gathers what the summaries say.
    template <class Body>
    void summarised(Team& team, std::size_t columns, std::int64_t grain, const Body& body) {
        const std::int64_t group = std::max<std::int64_t>(grain, (1 << 14) / grain * grain);
        std::vector<Summary> groups(static_cast<std::size_t>((unary_.points + group - 1) / group),
                                    Summary(columns));
        team.for_ranges(unary_.points, group, [&](std::int64_t begin, std::int64_t end) {
            Summary& summary = groups[static_cast<std::size_t>(begin / group)];
            for (std::int64_t b = begin; b < end; b += grain) body(b, std::min(b + grain, end), summary);
        });
        summary_ = Summary(columns);
        for (const Summary& of_group : groups) summary_.add(of_group);
    }

    // Looks once through the unary term: checks it, and finds which labels are probable anywhere.
    void survey(Team& team) {
        constexpr std::int64_t kPixels = 256;
        summarised(team, kept_.size(), kPixels, [&](std::int64_t begin, std::int64_t end, Summary& summary) {
            const std::int64_t count = end - begin;
            float top[kPixels], sum[kPixels];
            std::fill_n(top, count, unary_.energies ? std::numeric_limits<float>::infinity() : 0.0f);
            std::fill_n(sum, count, 0.0f);
            bool usable = true;
            for (std::int64_t c = 0; c < unary_.labels; ++c) {
                const float* from = unary_.at(c, begin);
                for (std::int64_t p = 0; p < count; ++p) {
                    const float value = from[p * unary_.point_stride];
                    usable &= value >= unary_.lowest && value <= unary_.highest;
                    top[p] = unary_.energies ? std::min(top[p], value) : std::max(top[p], value);
                    sum[p] += value;
                }
            }
            if (!usable) throw std::domain_error("values that cannot be used");
            for (std::int64_t p = 0; p < count; ++p) {
                if (!unary_.energies) sum[p] = sum[p] > 0.0f ? 1.0f / sum[p] : 0.0f;
            }
            for (std::int64_t c = 0; c < unary_.labels; ++c) {
                const float* from = unary_.at(c, begin);
                float largest = unary_.energies ? -std::numeric_limits<float>::infinity() : 0.0f;
                for (std::int64_t p = 0; p < count; ++p) {
                    const float value = from[p * unary_.point_stride];
                    largest = std::max(largest, unary_.energies ? top[p] - value : value * sum[p]);
                }
                // Of energies: beside the point's likeliest label, which is more than its probability.
                if (unary_.energies) largest = std::exp(largest);
                auto& kept = summary.largest[static_cast<std::size_t>(c)];
                kept = std::max(kept, largest);
            }
            for (std::int64_t p = 0; p < count; ++p)
                summary.least_winner =
                    std::min(summary.least_winner, unary_.energies ? 1.0f : top[p] * sum[p]);
        });
    }

    // Drops labels that are improbable everywhere; true if that makes the rows narrower.
    bool keep_probable(float prune) {
        const float bound = std::min(prune, summary_.least_winner);
        std::vector<std::int32_t> kept;
        std::vector<std::int64_t> columns;
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            if (summary_.largest[k] < bound) continue;
            kept.push_back(kept_[k]);
            columns.push_back(static_cast<std::int64_t>(k));
        }
        const std::int64_t width = padded_width(static_cast<std::int64_t>(kept.size()));
        if (width_ != 0 && width >= width_) return false;
        kept_ = std::move(kept);
        columns_ = std::move(columns);
        old_width_ = std::exchange(width_, width);
        return true;
    }

    void begin(Team& team) {
        const auto size = static_cast<std::size_t>(unary_.points * width_);
        q_ = Buffer<float>(size);
        scores_ = Buffer<float>(size);
        std::vector<const float*> planes;
        for (const std::int32_t label : kept_) planes.push_back(unary_.at(label, 0));
        summarised(team, static_cast<std::size_t>(width_), chunk(),
                   [&](std::int64_t begin, std::int64_t end, Summary& summary) {
                       Buffer<float> scores(static_cast<std::size_t>(chunk() * width_));
                       float* rows = scores_.data() + begin * width_;
                       loops_.scores(unary_.energies, planes.data(), static_cast<std::int64_t>(planes.size()),
                                     unary_.point_stride, begin, end - begin, rows, width_);
                       std::copy_n(rows, (end - begin) * width_, scores.data());
                       softmax(begin, end, scores.data(), summary, false);
                   });
    }

    void start_filters() {
        parts_.clear();
        const auto labels = static_cast<std::size_t>(unary_.labels), width = static_cast<std::size_t>(width_);
        bool scaling = false;
        for (const Term& term : terms_) {
            const bool matrix = labels > 1 && term.gains.size() == labels * labels;
            std::vector<float> gains(matrix ? kept_.size() * width : width, 0.0f);
            for (std::size_t to = 0; to < kept_.size(); ++to) {
                const auto label = static_cast<std::size_t>(kept_[to]);
                if (!matrix) gains[to] = term.gains.empty() ? 1.0f : term.gains[label];
                for (std::size_t from = 0; matrix && from < kept_.size(); ++from)
                    gains[from * width + to] =
                        term.gains[static_cast<std::size_t>(kept_[from]) * labels + label];
            }
            parts_.push_back({term, std::move(gains), matrix, term.filter->start(width_)});
            scaling |= !term.before.empty();
        }
        scaled_ = Buffer<float>(scaling ? q_.size() : 0);
    }

    // Narrower rows, for the labels that are left.
    void shrink(Team& team) {
        parts_.clear();  // first, to free memory
        for (Buffer<float>* rows : {&scores_, &q_}) {
            const float padding = rows == &scores_ ? -std::numeric_limits<float>::infinity() : 0.0f;
            Buffer<float> narrow(static_cast<std::size_t>(unary_.points * width_));
            team.for_ranges(unary_.points, chunk(), [&](std::int64_t begin, std::int64_t end) {
                const auto count = static_cast<std::int64_t>(columns_.size());
                for (std::int64_t p = begin; p < end; ++p) {
                    const float* from = rows->data() + p * old_width_;
                    float* to = narrow.data() + p * width_;
                    for (std::int64_t c = 0; c < count; ++c)
                        to[c] = from[columns_[static_cast<std::size_t>(c)]];
                    std::fill(to + count, to + width_, padding);
                }
            });
            *rows = std::move(narrow);
        }
        start_filters();
    }

    void filter(Team& team) {
        for (const Part& part : parts_) {
            const float* rows = q_.data();
            if (!part.term.before.empty()) {
                team.for_ranges(unary_.points, chunk(), [&](std::int64_t begin, std::int64_t end) {
                    loops_.scale(end - begin, part.term.before.data() + begin, rows + begin * width_,
                                 scaled_.data() + begin * width_, width_);
                });
                rows = scaled_.data();
            }
            part.filtering->take(team, rows);
        }
    }

    // scores of the points [begin, end) plus all messages to them
    void add_messages(std::int64_t begin, std::int64_t end, float* scores, float* scratch) const {
        const std::int64_t count = end - begin;
        std::copy_n(scores_.data() + begin * width_, count * width_, scores);
        for (const Part& part : parts_) {
            const float* message = part.filtering->read(begin, end, scratch);
            const float* after = part.term.after.data() + begin;
            if (part.matrix)
                loops_.add_product(count, after, part.gains.data(), message,
                                   static_cast<std::int64_t>(kept_.size()), scores, width_);
            else
                loops_.add(count, after, part.gains.data(), message, scores, width_);
        }
    }

    void step(Team& team, float tolerance) {
        summarised(team, static_cast<std::size_t>(width_), chunk(),
                   [&](std::int64_t begin, std::int64_t end, Summary& summary) {
                       Buffer<float> scores(static_cast<std::size_t>(chunk() * width_));
                       Buffer<float> scratch(static_cast<std::size_t>(chunk() * width_));
                       add_messages(begin, end, scores.data(), scratch.data());
                       softmax(begin, end, scores.data(), summary, tolerance > 0);
                   });
    }

    void softmax(std::int64_t begin, std::int64_t end, float* scores, Summary& summary, bool compare) {
        loops_.softmax(end - begin, scores, q_.data() + begin * width_, width_, summary.largest.data(),
                       &summary.least_winner, compare ? &summary.change : nullptr);
    }

    // The expected energy, sum Q unary - 1/2 sum Q message, and the entropy of Q, whose messages are ready.
    void measure(Team& team, Report& report) {
        const std::int64_t grain = chunk();
        std::vector<double> energies(static_cast<std::size_t>((unary_.points + grain - 1) / grain));
        std::vector<double> entropies(energies.size());
        team.for_ranges(unary_.points, grain, [&](std::int64_t begin, std::int64_t end) {
            Buffer<float> scores(static_cast<std::size_t>(grain * width_));
            Buffer<float> scratch(static_cast<std::size_t>(grain * width_));
            add_messages(begin, end, scores.data(), scratch.data());
            double energy = 0, entropy = 0;
            for (std::int64_t p = begin; p < end; ++p)
                for (std::size_t c = 0; c < kept_.size(); ++c) {
                    const auto at = static_cast<std::size_t>(p * width_) + c;
                    const double q = q_[at], own = scores_[at];
                    const double message = scores[at - static_cast<std::size_t>(begin * width_)] - own;
                    energy -= q * (own + 0.5 * message);
                    if (q > 0) entropy -= q * std::log(q);
                }
            energies[static_cast<std::size_t>(begin / grain)] = energy;
            entropies[static_cast<std::size_t>(begin / grain)] = entropy;
        });
        report.energy.push_back(std::accumulate(energies.begin(), energies.end(), 0.0));
        report.entropy.push_back(std::accumulate(entropies.begin(), entropies.end(), 0.0));
    }

    const std::vector<Term>& terms_;
    Unary unary_;
    const InnerLoops& loops_ = inner_loops();
    std::vector<std::int32_t> kept_;     // labels, in the order of the columns
    std::vector<std::int64_t> columns_;  // where they were before the last shrinking
    std::int64_t width_ = 0, old_width_ = 0;
    Summary summary_;
    std::vector<Part> parts_;
    Buffer<float> scores_, q_, scaled_;  // scores_: minus the unary term
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
