// Mean field inference in a fully connected CRF (Kraehenbuehl and Koltun 2011; Chen et al. 2015, section 4).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/pruning.hpp"
#include "mean_field/term_filter.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"

namespace atrous {

class GeneralMeanField {
  public:
    // The terms must outlive the inference; their filters have the same tiles.
    GeneralMeanField(const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary)
        : terms_(terms), tiles_(tiles), unary_(unary) {
        kept_.resize(static_cast<std::size_t>(unary.labels));
        std::iota(kept_.begin(), kept_.end(), 0);
    }

    // Throws std::domain_error where the unary term has values that cannot be used.
    Report infer(ThreadPool& pool, const Settings& settings) {
        Report report;
        scan_unary(pool);
        const float bound = PruningBounds(settings.prune, terms_).image;
        keep_probable(bound);
        begin(pool);
        bool put = false;  // whether Q went into the filters as it arose
        while (report.steps < settings.iterations) {
            filter(pool, put);
            if (settings.trace) measure(pool, report);
            put = ++report.steps < settings.iterations || settings.trace;
            step(pool, settings.tolerance, put);
            if (settings.tolerance > 0 && summary_.change <= settings.tolerance) break;
            if (report.steps < settings.iterations && keep_probable(bound)) {
                shrink(pool);
                put = false;
            }
        }
        if (settings.trace) {
            filter(pool, put);
            measure(pool, report);
        }
        report.kept = kept_;
        parts_.clear();  // so that what Q is written to finds the memory
        scores_ = Buffer<float>();
        next_q_ = Buffer<float>();
        return report;
    }

    // Writes the probabilities of each label to its plane, of which a value lies every `stride` floats;
    // zeroed: no zeros of those that left.
    void probabilities(ThreadPool& pool, float* planes, std::int64_t label_stride, std::int64_t stride,
                       bool zeroed = false) const {
        std::vector<float*> of_kept;
        std::vector<bool> dead(static_cast<std::size_t>(unary_.labels), true);
        for (const std::int32_t label : kept_) {
            of_kept.push_back(planes + label * label_stride);
            dead[static_cast<std::size_t>(label)] = false;
        }
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t b = begin; b < end; b += chunk()) {
                const std::int64_t count = std::min(chunk(), end - b);
                loops_.planes(q_.data() + b * width_, count, width_, of_kept.data(),
                              static_cast<std::int64_t>(of_kept.size()), stride, b);
            }
            for (std::int64_t c = 0; !zeroed && c < unary_.labels; ++c)
                for (std::int64_t p = begin; dead[static_cast<std::size_t>(c)] && p < end; ++p)
                    planes[c * label_stride + p * stride] = 0.0f;
        });
    }

    // The most probable label of each point; of equals the first.
    void labels(ThreadPool& pool, std::int32_t* out) const {
        const auto count = static_cast<std::int64_t>(kept_.size());
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t begin, std::int64_t end) {
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
    static constexpr std::int64_t kGroup = 1 << 12;  // points that a thread takes at a time

    struct Part {
        TermFilter kernel;
        std::vector<float> gains;  // of the labels that are kept, padded to the width
        bool matrix;
    };

    // Of Q over all points, or of those that a worker has seen.
    struct Summary {
        std::vector<float> largest;  // of each label, the ratio to a point's likeliest
        float change = 0.0f;

        explicit Summary(std::size_t labels = 0) : largest(labels, 0.0f) {}
        void add(const Summary& other) {
            for (std::size_t c = 0; c < largest.size(); ++c)
                largest[c] = std::max(largest[c], other.largest[c]);
            change = std::max(change, other.change);
        }
    };

    // What a worker writes on.
    struct Workspace {
        Buffer<float> scores, message;          // of a chunk
        std::vector<Buffer<float>> of_filters;  // what they need to read a tile
        Summary summary;
    };

    std::int64_t chunk() const { return chunk_of_pixels(width_); }

    void clear_summaries(const ThreadPool& pool, std::size_t columns) {
        workspaces_.resize(static_cast<std::size_t>(pool.size()));
        for (Workspace& workspace : workspaces_) workspace.summary = Summary(columns);
    }

    void join_summaries() {
        summary_ = Summary(workspaces_[0].summary.largest.size());
        for (const Workspace& workspace : workspaces_) summary_.add(workspace.summary);
    }

    // Looks once through the unary term: checks it, and finds which labels are probable anywhere.
    void scan_unary(ThreadPool& pool) {
        clear_summaries(pool, kept_.size());
        const std::vector<const float*> planes = planes_of_kept();
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t begin, std::int64_t end, int worker) {
            Summary& summary = workspaces_[static_cast<std::size_t>(worker)].summary;
            if (!loops_.scan_unary(unary_.energies, planes.data(), unary_.labels, unary_.point_stride, begin,
                                   end - begin, 1, 0, unary_.lowest, unary_.highest, summary.largest.data()))
                throw std::domain_error("values that cannot be used");
        });
        join_summaries();
    }

    std::vector<const float*> planes_of_kept() const {
        std::vector<const float*> planes;
        for (const std::int32_t label : kept_) planes.push_back(unary_.values + label * unary_.label_stride);
        return planes;
    }

    // Drops labels that are improbable everywhere; true if that makes the rows narrower.
    bool keep_probable(float bound) {
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

    void begin(ThreadPool& pool) {
        const auto size = static_cast<std::size_t>(unary_.points * width_);
        q_ = Buffer<float>(size);
        next_q_ = Buffer<float>(size);
        scores_ = Buffer<float>(size);
        start_filters(pool);
        const std::vector<const float*> planes = planes_of_kept();
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t first, std::int64_t last, int worker) {
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            for (std::int64_t begin = first; begin < last; begin += chunk()) {
                const std::int64_t end = std::min(last, begin + chunk());
                float* rows = scores_.data() + begin * width_;
                loops_.scores(unary_.energies, planes.data(), static_cast<std::int64_t>(planes.size()),
                              unary_.point_stride, begin, end - begin, rows, width_);
                std::copy_n(rows, (end - begin) * width_, workspace.scores.data());
                softmax(begin, end, workspace, q_, false);
            }
        });
        join_summaries();
    }

    void start_filters(const ThreadPool& pool) {
        parts_.clear();
        const auto labels = static_cast<std::size_t>(unary_.labels), width = static_cast<std::size_t>(width_);
        clear_summaries(pool, width);
        for (const Term& term : terms_) {
            const bool matrix = labels > 1 && term.compatibility.size() == labels * labels;
            std::vector<float> gains(matrix ? kept_.size() * width : width, 0.0f);
            for (std::size_t to = 0; to < kept_.size(); ++to) {
                const auto label = static_cast<std::size_t>(kept_[to]);
                if (!matrix) gains[to] = term.compatibility.empty() ? 1.0f : term.compatibility[label];
                for (std::size_t from = 0; matrix && from < kept_.size(); ++from)
                    gains[from * width + to] =
                        term.compatibility[static_cast<std::size_t>(kept_[from]) * labels + label];
            }
            parts_.push_back({TermFilter(term, width_), std::move(gains), matrix});
        }
        for (Workspace& workspace : workspaces_) {
            workspace.scores = Buffer<float>(static_cast<std::size_t>(chunk() * width_));
            workspace.message = Buffer<float>(static_cast<std::size_t>(chunk() * width_));
            workspace.of_filters.clear();
            for (const Part& part : parts_)
                workspace.of_filters.emplace_back(part.kernel.filtering().scratch());
        }
    }

    // Narrower rows, for the labels that are left. They move from buffer to buffer, so that no new memory is
    // needed.
    void shrink(ThreadPool& pool) {
        parts_.clear();
        narrow(pool, q_, next_q_, 0.0f);
        std::swap(q_, next_q_);
        narrow(pool, scores_, next_q_, -std::numeric_limits<float>::infinity());
        std::swap(scores_, next_q_);
        start_filters(pool);
    }

    void narrow(ThreadPool& pool, const Buffer<float>& rows, Buffer<float>& out, float padding) const {
        const auto count = static_cast<std::int64_t>(columns_.size());
        pool.for_ranges(unary_.points, kGroup, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t p = begin; p < end; ++p) {
                const float* from = rows.data() + p * old_width_;
                float* to = out.data() + p * width_;
                for (std::int64_t c = 0; c < count; ++c) to[c] = from[columns_[static_cast<std::size_t>(c)]];
                std::fill(to + count, to + width_, padding);
            }
        });
    }

    // Q through all filters.
    void filter(ThreadPool& pool, bool put) {
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f].kernel.filter(pool, q_.data(), put, [&](int worker) {
                return workspaces_[static_cast<std::size_t>(worker)].of_filters[f].data();
            });
    }

    // Calls body(begin, end, workspace), workspace.scores holding these points' scores plus all messages to
    // them, and close(tile, workspace) after a tile's points.
    template <class Body, class Close>
    void with_messages(ThreadPool& pool, const Body& body, const Close& close) {
        const auto open = [&](std::int64_t tile, int worker) {
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            for (std::size_t f = 0; f < parts_.size(); ++f)
                parts_[f].kernel.filtering().begin_tile(tile, workspace.of_filters[f].data());
            return true;
        };
        for_chunks(
            pool, tiles_, chunk(), open,
            [&](std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end, int worker) {
                Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
                if (width_ <= 8) tiles_.prefetch_next(scores_.data(), width_, begin, end);
                if (width_ <= 8) tiles_.prefetch_next(next_q_.data(), width_, begin, end);
                const float* base = scores_.data() + begin * width_;
                for (std::size_t f = 0; f < parts_.size(); ++f) {
                    const Part& part = parts_[f];
                    const float* message = part.kernel.filtering().slice(
                        tile, place, begin, end, workspace.of_filters[f].data(), workspace.message.data());
                    const float* after = part.kernel.term().post_scale.data() + begin;
                    if (part.matrix)
                        loops_.add_product(end - begin, after, part.gains.data(), message,
                                           static_cast<std::int64_t>(kept_.size()), base,
                                           workspace.scores.data(), width_);
                    else
                        loops_.add(end - begin, after, part.gains.data(), message, base,
                                   workspace.scores.data(), width_);
                    base = workspace.scores.data();
                }
                if (parts_.empty()) std::copy_n(base, (end - begin) * width_, workspace.scores.data());
                body(begin, end, workspace);
            },
            [&](std::int64_t tile, int worker) {
                close(tile, workspaces_[static_cast<std::size_t>(worker)]);
            });
    }

    // put: whether the new Q will be needed in the filters.
    void step(ThreadPool& pool, float tolerance, bool put) {
        clear_summaries(pool, static_cast<std::size_t>(width_));
        const auto close = [&](std::int64_t tile, Workspace& workspace) {
            for (std::size_t f = 0; put && f < parts_.size(); ++f)
                parts_[f].kernel.splat_new(tile, next_q_.data(), workspace.of_filters[f].data());
        };
        with_messages(
            pool,
            [&](std::int64_t begin, std::int64_t end, Workspace& workspace) {
                if (tolerance > 0)
                    std::copy_n(q_.data() + begin * width_, (end - begin) * width_,
                                next_q_.data() + begin * width_);
                softmax(begin, end, workspace, next_q_, tolerance > 0);
            },
            close);
        std::swap(q_, next_q_);
        join_summaries();
    }

    void softmax(std::int64_t begin, std::int64_t end, Workspace& workspace, Buffer<float>& q, bool compare) {
        Summary& summary = workspace.summary;
        loops_.softmax(end - begin, workspace.scores.data(), q.data() + begin * width_, width_,
                       summary.largest.data(), compare ? &summary.change : nullptr);
    }

    // The expected energy, sum Q unary - 1/2 sum Q message, and the entropy of Q, whose messages are ready.
    void measure(ThreadPool& pool, Report& report) {
        // Point by point: which thread had which points must not show in the sums.
        std::vector<double> energies(static_cast<std::size_t>(unary_.points)), entropies(energies);
        const auto add = [&](std::int64_t begin, std::int64_t end, const Workspace& workspace) {
            for (std::int64_t p = begin; p < end; ++p) {
                const float* own = scores_.data() + p * width_;
                const float* all = workspace.scores.data() + (p - begin) * width_;
                const float* q = q_.data() + p * width_;
                add_energy(kept_.size(), q, own, all, energies[static_cast<std::size_t>(p)],
                           entropies[static_cast<std::size_t>(p)]);
            }
        };
        with_messages(pool, add, [](std::int64_t, Workspace&) {});
        report.energy.push_back(std::accumulate(energies.begin(), energies.end(), 0.0));
        report.entropy.push_back(std::accumulate(entropies.begin(), entropies.end(), 0.0));
    }

    const std::vector<Term>& terms_;
    Tiles tiles_;
    Unary unary_;
    const Kernels& loops_ = kernels();
    std::vector<std::int32_t> kept_;     // labels, in the order of the columns
    std::vector<std::int64_t> columns_;  // where they were before the last shrinking
    std::int64_t width_ = 0, old_width_ = 0;
    Summary summary_;
    std::vector<Part> parts_;
    std::vector<Workspace> workspaces_;
    Buffer<float> scores_;      // minus the unary term
    Buffer<float> q_, next_q_;  // each step reads one and writes the other
};

}  // namespace atrous
