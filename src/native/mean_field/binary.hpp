// Mean field inference for two labels by the difference of their scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/pruning.hpp"
#include "mean_field/term_filter.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"

namespace atrous {

// Computes what MeanField does, except for the energies. As the probabilities sum to 1, one is enough: with
// M = K (pre_scale * Q) for Q of the first label and T = K pre_scale, the second label has T - M, and
//
//     difference = unary difference + sum over terms of post_scale * (slope * M + offset * T).
//
// A tile where a label is pruned is decided, as in MeanField: no step computes it again.
class BinaryMeanField {
  public:
    // The terms must outlive the inference; their filters must have the same tiles.
    BinaryMeanField(const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
                    const Settings& settings)
        : terms_(terms), tiles_(tiles), unary_(unary), settings_(settings), bounds_(settings.prune, terms) {}

    // Throws std::domain_error if the unary term has invalid values.
    Report infer(ThreadPool& pool) {
        Report report;
        scan_unary(pool);
        report.active_labels = active_labels_;
        if (active_labels_.size() == 1) {
            report.steps = std::clamp(settings_.iterations, 0,
                                      settings_.tolerance > 0 ? 1 : std::numeric_limits<int>::max());
            return report;
        }
        begin(pool);
        decide_tiles(pool);
        if (settings_.iterations > 0) start_filters(pool);
        bool already_splatted = false;  // whether the last step splatted Q
        while (report.steps < settings_.iterations) {
            filter(pool, already_splatted);
            already_splatted = ++report.steps < settings_.iterations;
            const float change = step(pool, already_splatted);
            if (settings_.tolerance > 0 && change <= settings_.tolerance) break;
            if (already_splatted) decide_tiles(pool);
        }
        parts_.clear();
        return report;
    }

    // As in MeanField.
    void probabilities(ThreadPool& pool, float* planes, std::int64_t label_stride, std::int64_t stride,
                       bool = false) const {
        if (active_labels_.size() == 1) {
            for (std::int64_t label = 0; label < 2; ++label)
                for (std::int64_t p = 0; p < unary_.points; ++p)
                    planes[label * label_stride + p * stride] = label == active_labels_[0] ? 1.0f : 0.0f;
            return;
        }
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t first, std::int64_t last) {
            float both[2][kChunk];
            for (std::int64_t begin = first; begin < last; begin += kChunk) {
                const std::int64_t count = std::min(kChunk, last - begin);
                loops_.logistic(count, sums_.data() + begin, both[0], both[1], nullptr);
                for (std::int64_t label = 0; label < 2; ++label)
                    for (std::int64_t p = 0; p < count; ++p)
                        planes[label * label_stride + (begin + p) * stride] = both[label][p];
            }
        });
    }

    // Writes the more probable label of each point, the first one of equals.
    void labels(ThreadPool& pool, std::int32_t* out) const {
        if (active_labels_.size() == 1) {
            std::fill_n(out, unary_.points, active_labels_[0]);
            return;
        }
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t first, std::int64_t last) {
            float both[2][kChunk];  // these may be equal though the differences of scores are not 0
            for (std::int64_t begin = first; begin < last; begin += kChunk) {
                const std::int64_t count = std::min(kChunk, last - begin);
                loops_.logistic(count, sums_.data() + begin, both[0], both[1], nullptr);
                for (std::int64_t p = 0; p < count; ++p) out[begin + p] = both[0][p] < both[1][p];
            }
        });
    }

  private:
    static constexpr std::int64_t kGroup = 1 << 12;  // points in a thread's task
    static constexpr std::int64_t kChunk = 256;      // points computed together
    static constexpr float kCertain = 1000.0f;       // a difference whose probability is 1

    struct Part {
        TermFilter kernel;
        float slope, offset;
    };

    // Buffers of one worker.
    struct Workspace {
        Buffer<float> message, sums;
        std::vector<Buffer<float>> scratch;  // of each filter
        float change = 0.0f;
    };

    // State of a tile: the range of the first label's Q.
    struct Tile {
        PairRange range;
        bool decided = false;
    };

    Tile& tile(std::int64_t number) { return of_tile_[static_cast<std::size_t>(number)]; }
    // Returns the largest ratio of a label to the more probable one in a tile.
    float largest(std::int64_t number, int label) const {
        const PairRange& range = of_tile_[static_cast<std::size_t>(number)].range;
        const float q = label == 0 ? range.highest : 1.0f - range.lowest;
        return q >= 0.5f ? 1.0f : q / (1.0f - q);
    }

    // Checks the unary term and finds the active labels: those that are not improbable everywhere.
    void scan_unary(ThreadPool& pool) {
        const float* planes[2] = {unary_.values, unary_.values + unary_.label_stride};
        struct Seen {
            float largest[2] = {0.0f, 0.0f};
        };
        std::vector<Seen> seen(static_cast<std::size_t>(pool.size()));
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t begin, std::int64_t end, int worker) {
            Seen& own = seen[static_cast<std::size_t>(worker)];
            if (!loops_.scan_unary(unary_.energies, planes, 2, unary_.point_stride, begin, end - begin, 1, 0,
                                   unary_.lowest, unary_.highest, own.largest))
                throw std::domain_error("invalid values");
        });
        for (std::int32_t label = 0; label < 2; ++label)
            if (std::any_of(seen.begin(), seen.end(),
                            [&](const Seen& own) { return !(own.largest[label] < bounds_.image); }))
                active_labels_.push_back(label);
    }

    void begin(ThreadPool& pool) {
        const auto points = static_cast<std::size_t>(unary_.points);
        for (Buffer<float>* buffer : {&scores_, &sums_, &q_, &next_q_}) *buffer = Buffer<float>(points);
        of_tile_.resize(static_cast<std::size_t>(tiles_.count()));
        workspaces_.resize(static_cast<std::size_t>(pool.size()));
        const float* planes[2] = {unary_.values, unary_.values + unary_.label_stride};
        pool.for_ranges(tiles_.count(), 1, [&](std::int64_t number, std::int64_t) {
            float both[4 * kChunk];
            tile(number).range = {};
            tiles_.segments(number, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t begin = first; begin < last; begin += kChunk) {
                    const std::int64_t count = std::min(kChunk, last - begin);
                    float* sums = sums_.data() + begin;
                    loops_.scores(unary_.energies, planes, 2, unary_.point_stride, begin, count, both, 4);
                    for (std::int64_t p = 0; p < count; ++p) sums[p] = both[4 * p] - both[4 * p + 1];
                    std::copy_n(sums, count, scores_.data() + begin);
                    loops_.logistic(count, sums, q_.data() + begin, nullptr, &tile(number).range);
                }
            });
        });
    }

    void start_filters(ThreadPool& pool) {
        for (const Term& term : terms_) {
            const std::vector<float>& g = term.gains;
            float slope = 2.0f, offset = -1.0f;
            if (g.size() == 2) slope = g[0] + g[1], offset = -g[1];
            if (g.size() == 4) slope = g[0] - g[1] - g[2] + g[3], offset = g[2] - g[3];
            parts_.push_back({TermFilter(term, 1), slope, offset});
        }
        for (Workspace& workspace : workspaces_) {
            workspace.message = Buffer<float>(kChunk);
            workspace.sums = Buffer<float>(kChunk);
            for (const Part& part : parts_) workspace.scratch.emplace_back(part.kernel.filtering().scratch());
        }
        for (std::size_t f = 0; f < parts_.size(); ++f) add_offset(pool, f);
    }

    // scores += offset * post_scale * K pre_scale
    void add_offset(ThreadPool& pool, std::size_t f) {
        const Part& part = parts_[f];
        const Term& term = part.kernel.term();
        if (term.total) {
            const float offset = part.offset * *term.total;
            for (std::size_t p = 0; p < scores_.size(); ++p) scores_[p] += offset;
            return;
        }
        if (term.pre_scale.empty()) std::fill_n(next_q_.data(), next_q_.size(), 1.0f);
        const float* rows = term.pre_scale.empty() ? next_q_.data() : term.pre_scale.data();
        Filtering& filtering = part.kernel.filtering();
        pool.for_ranges(tiles_.count(), 1, [&](std::int64_t number, std::int64_t, int worker) {
            filtering.splat(number, rows, scratch(worker, f));
        });
        filtering.blur(pool, rows);
        for_chunks(
            pool, tiles_, kChunk,
            [&](std::int64_t number, int worker) {
                filtering.begin_tile(number, scratch(worker, f));
                return true;
            },
            [&](std::int64_t number, std::int64_t place, std::int64_t begin, std::int64_t end, int worker) {
                add(part, f, part.offset, number, place, begin, end, worker, scores_.data() + begin,
                    scores_.data() + begin);
            },
            [](std::int64_t, int) {});
    }

    float* scratch(int worker, std::size_t f) {
        return workspaces_[static_cast<std::size_t>(worker)].scratch[f].data();
    }

    // out = base + factor * post_scale * message, for points of the tile started last
    void add(const Part& part, std::size_t f, float factor, std::int64_t number, std::int64_t place,
             std::int64_t begin, std::int64_t end, int worker, const float* base, float* out) {
        Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
        const float* message = part.kernel.filtering().slice(number, place, begin, end, scratch(worker, f),
                                                             workspace.message.data());
        loops_.add(end - begin, part.kernel.term().post_scale.data() + begin, &factor, message, base, out, 1);
    }

    // Filters Q with all terms, decided tiles included: their Q stays splatted.
    void filter(ThreadPool& pool, bool already_splatted) {
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f].kernel.filter(pool, q_.data(), already_splatted,
                                    [&](int worker) { return scratch(worker, f); });
    }

    // One step. splat_too: splats the new Q of each tile while it is in cache, for the next step. Returns the
    // largest change of Q if there is a tolerance, else 0.
    float step(ThreadPool& pool, bool splat_too) {
        for (Workspace& workspace : workspaces_) workspace.change = 0.0f;
        const bool keep_sums = !splat_too || settings_.tolerance > 0;  // this may be the last step
        for_chunks(
            pool, tiles_, kChunk,
            [&](std::int64_t number, int worker) {
                if (tile(number).decided) return false;
                for (std::size_t f = 0; f < parts_.size(); ++f)
                    parts_[f].kernel.filtering().begin_tile(number, scratch(worker, f));
                tile(number).range = {};
                return true;
            },
            [&](std::int64_t number, std::int64_t place, std::int64_t begin, std::int64_t end, int worker) {
                float* sums = keep_sums ? sums_.data() + begin
                                        : workspaces_[static_cast<std::size_t>(worker)].sums.data();
                const float* base = scores_.data() + begin;
                for (std::size_t f = 0; f < parts_.size(); ++f) {
                    add(parts_[f], f, parts_[f].slope, number, place, begin, end, worker, base, sums);
                    base = sums;
                }
                loops_.logistic(end - begin, base, next_q_.data() + begin, nullptr, &tile(number).range);
                if (settings_.tolerance > 0)
                    note_change(workspaces_[static_cast<std::size_t>(worker)].change, begin, end);
            },
            [&](std::int64_t number, int worker) {
                for (std::size_t f = 0; splat_too && f < parts_.size(); ++f)
                    parts_[f].kernel.splat_new(number, next_q_.data(), scratch(worker, f));
            });
        std::swap(q_, next_q_);
        float change = 0.0f;
        for (const Workspace& workspace : workspaces_) change = std::max(change, workspace.change);
        return change;
    }

    void note_change(float& change, std::int64_t begin, std::int64_t end) const {
        for (auto p = static_cast<std::size_t>(begin); p < static_cast<std::size_t>(end); ++p)
            change = std::max(change, std::abs(next_q_[p] - q_[p]));
    }

    bool improbable_everywhere(int label) const {
        float most = 0.0f;
        for (std::int64_t number = 0; number < tiles_.count(); ++number)
            most = std::max(most, largest(number, label));
        return most < bounds_.image;
    }

    void decide_tiles(ThreadPool& pool) {
        std::vector<int> winner(of_tile_.size(), -1);
        for (int label = 0; label < 2; ++label) {
            const bool everywhere = improbable_everywhere(label);
            for (std::int64_t number = 0; number < tiles_.count(); ++number) {
                if (tile(number).decided) continue;
                const auto dominates = [&](std::int64_t other) { return largest(other, label) >= kDominant; };
                if (everywhere ||
                    is_pruned_in_tile(largest(number, label), bounds_, tiles_, number, dominates))
                    winner[static_cast<std::size_t>(number)] = 1 - label;
            }
        }
        pool.for_ranges(tiles_.count(), 1, [&](std::int64_t number, std::int64_t, int worker) {
            const int label = winner[static_cast<std::size_t>(number)];
            if (label < 0) return;
            const float q = label == 0 ? 1.0f : 0.0f;
            tile(number) = {{q, q}, true};
            tiles_.segments(number, [&](std::int64_t begin, std::int64_t end) {
                std::fill_n(q_.data() + begin, end - begin, q);
                std::fill_n(next_q_.data() + begin, end - begin, q);
                std::fill_n(sums_.data() + begin, end - begin, label == 0 ? kCertain : -kCertain);
            });
            for (std::size_t f = 0; f < parts_.size(); ++f)
                parts_[f].kernel.splat_new(number, q_.data(), scratch(worker, f));
        });
    }

    const std::vector<Term>& terms_;
    Tiles tiles_;
    Unary unary_;
    Settings settings_;
    PruningBounds bounds_;
    const Kernels& loops_ = kernels();
    std::vector<std::int32_t> active_labels_;
    std::vector<Tile> of_tile_;
    std::vector<Part> parts_;
    std::vector<Workspace> workspaces_;
    Buffer<float> scores_;      // differences of the scores without messages
    Buffer<float> sums_;        // differences of the scores with messages
    Buffer<float> q_, next_q_;  // of the first label; a step reads q_ and writes next_q_
};

}  // namespace atrous
