// Mean field inference that keeps, in each part of an image, only the labels that are probable there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/active_labels.hpp"
#include "mean_field/types.hpp"
#include "mean_field/whole_image.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Keeps, in each tile, rows of the labels that are not pruned there. A tile that is left with one label has
// nothing more to compute.
class MeanField {
  public:
    MeanField(const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
              const Settings& settings)
        : terms_(terms), unary_(unary), settings_(settings), bounds_(settings.prune, terms) {
        label_tiles_.tiles = tiles;
        label_tiles_.of_tile.resize(static_cast<std::size_t>(tiles.count()));
        // Each label's message counts, or the neighbors of a tile are not known.
        if (std::any_of(terms.begin(), terms.end(), [&](const Term& term) { return mixes(term); }))
            bounds_ = {0.0f, terms};
        if (!std::all_of(terms.begin(), terms.end(),
                         [&](const Term& term) { return term.filter->takes_tiles(); }))
            bounds_.tile = 0.0f;
    }

    // Throws std::domain_error where the unary term has values that cannot be used.
    Report infer(ThreadPool& pool) {
        Report report;
        active_.scan_unary(pool, unary_, label_tiles_.tiles);
        for (LabelTile& label_tile : label_tiles_.of_tile) label_tile.columns = active_.kept();
        keep_probable();
        begin(pool);
        while (report.steps < settings_.iterations) {
            for (const auto& part : parts_) part->blur(pool);
            if (settings_.trace) measure(pool, report);
            const bool last = ++report.steps == settings_.iterations;
            const float change = step(pool, !last || settings_.trace);
            if (settings_.tolerance > 0 && change <= settings_.tolerance) break;
            if (!last) drop_improbable(pool);
        }
        if (settings_.trace) {
            for (const auto& part : parts_) part->blur(pool);
            measure(pool, report);
        }
        parts_.clear();
        scores_ = Buffer<float>();
        next_q_ = Buffer<float>();
        report.kept = active_.kept();
        return report;
    }

    // Writes the probabilities of each label to its plane, of which a value lies every `stride` floats;
    // zeroed: no zeros of those that were pruned.
    void probabilities(ThreadPool& pool, float* planes, std::int64_t label_stride, std::int64_t stride,
                       bool zeroed = false) const {
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const LabelTile& label_tile = label_tiles_[tile];
            std::vector<std::int64_t> place(static_cast<std::size_t>(unary_.labels), -1);
            for (std::size_t c = 0; c < label_tile.columns.size(); ++c)
                place[static_cast<std::size_t>(active_.label_of(label_tile.columns[c]))] =
                    static_cast<std::int64_t>(c);
            for (std::int64_t label = 0; label < unary_.labels; ++label) {
                const std::int64_t column = place[static_cast<std::size_t>(label)];
                if (column < 0 && zeroed) continue;
                const float* from = q_.data() + label_tile.start + std::max<std::int64_t>(column, 0);
                label_tiles_.tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                    float* to = planes + label * label_stride;
                    for (std::int64_t p = begin; p < end; ++p)
                        to[p * stride] = column < 0             ? 0.0f
                                         : label_tile.decided() ? 1.0f
                                                                : from[(p - begin) * label_tile.width];
                    from += (end - begin) * label_tile.width;
                });
            }
        });
    }

    // The most probable label of each point; of equals the first.
    void labels(ThreadPool& pool, std::int32_t* out) const {
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const LabelTile& label_tile = label_tiles_[tile];
            const float* row = q_.data() + label_tile.start;
            label_tiles_.tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t p = begin; p < end; ++p, row += label_tile.width) {
                    std::int64_t best = 0;
                    for (std::int64_t c = 1; c < label_tile.count(); ++c)
                        if (row[c] > row[best]) best = c;
                    out[p] = active_.label_of(label_tile.columns[static_cast<std::size_t>(best)]);
                }
            });
        });
    }

  private:
    // What a worker writes on.
    struct Workspace {
        Buffer<float> scores, message;          // of a line of a tile
        std::vector<Buffer<float>> of_filters;  // what they need to read a tile
        std::vector<float> largest, gains;
        float change = 0.0f;
    };

    // A tile that is decided needs rows for its energy alone.
    std::int64_t width_of(const std::vector<std::int32_t>& columns) const {
        const auto count = static_cast<std::int64_t>(columns.size());
        return count == 1 && !settings_.trace ? 0 : padded_width(count);
    }

    // Before any rows exist.
    void keep_probable() {
        const std::vector<bool> improbable = active_.improbable_everywhere(bounds_);
        std::vector<std::vector<std::int32_t>> left;
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile)
            left.push_back(
                active_.probable(tile, label_tiles_[tile].columns, improbable, label_tiles_.tiles, bounds_));
        std::size_t floats = 0;
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile) {
            LabelTile& label_tile = label_tiles_[tile];
            label_tile.columns = std::move(left[static_cast<std::size_t>(tile)]);
            label_tile.width = width_of(label_tile.columns);
            label_tile.start = floats;
            floats += static_cast<std::size_t>(label_tiles_.points(tile) * label_tile.width);
        }
        scores_ = Buffer<float>(floats);
        q_ = Buffer<float>(floats);
        renumber(improbable);
    }

    // Leaves out the columns that no tile has.
    void renumber(const std::vector<bool>& absent) {
        const std::vector<std::int32_t> number = active_.renumber(absent);
        for (LabelTile& label_tile : label_tiles_.of_tile)
            for (std::int32_t& column : label_tile.columns) column = number[static_cast<std::size_t>(column)];
    }

    void start_filters(ThreadPool& pool) {
        const std::int64_t width = padded_width(static_cast<std::int64_t>(active_.columns()));
        parts_.clear();
        matrices_.assign(terms_.size(), {});
        for (std::size_t f = 0; f < terms_.size() && steps_follow(); ++f) {
            const Term& term = terms_[f];
            const bool float16 = term.float16 && term.pre_scale.empty();
            const float* pre_scale = term.pre_scale.empty() ? nullptr : term.pre_scale.data();
            if (term.filter->takes_tiles())
                parts_.push_back(term.filter->start_tiles(width, float16, pre_scale));
            else
                parts_.push_back(
                    std::make_unique<WholeImageState>(*term.filter, width, float16, pre_scale, chunk()));
            if (mixes(term)) matrices_[f] = padded(term.compatibility, width);
        }
        if (std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->reads_rows(); }))
            next_q_ = Buffer<float>(q_.size());
        std::int64_t widest = 4;
        for (const LabelTile& label_tile : label_tiles_.of_tile) widest = std::max(widest, label_tile.width);
        workspaces_.resize(static_cast<std::size_t>(pool.size()));
        for (Workspace& workspace : workspaces_) {
            workspace.scores = Buffer<float>(static_cast<std::size_t>(chunk() * widest));
            workspace.message = Buffer<float>(static_cast<std::size_t>(chunk() * widest));
            workspace.of_filters.clear();
            for (const auto& part : parts_) workspace.of_filters.emplace_back(part->scratch(widest));
        }
    }

    std::int64_t chunk() const { return std::min<std::int64_t>(label_tiles_.tiles.width(), 256); }

    bool steps_follow() const { return settings_.iterations > 0 || settings_.trace; }
    // Whether a label's score has messages of others.
    bool mixes(const Term& term) const {
        return unary_.labels > 1 &&
               term.compatibility.size() == static_cast<std::size_t>(unary_.labels * unary_.labels);
    }

    std::vector<float> padded(const std::vector<float>& matrix, std::int64_t width) const {
        std::vector<float> rows;
        for (std::int64_t from = 0; from < unary_.labels; ++from) {
            const auto row = matrix.begin() + static_cast<std::ptrdiff_t>(from * unary_.labels);
            rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(unary_.labels));
            rows.resize(static_cast<std::size_t>((from + 1) * width), 0.0f);
        }
        return rows;
    }

    // Calls body(place, begin, end) for the lines of a tile, in chunks.
    template <class Body>
    void for_lines(std::int64_t tile, const Body& body) const {
        std::int64_t place = 0;
        label_tiles_.tiles.segments(tile, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t begin = first; begin < last; begin += chunk()) {
                const std::int64_t end = std::min(last, begin + chunk());
                body(place, begin, end);
                place += end - begin;
            }
        });
    }

    void begin(ThreadPool& pool) {
        start_filters(pool);
        const std::int64_t strip = strip_of_tiles();
        for (std::int64_t first = 0; first < label_tiles_.tiles.count(); first += strip) {
            const std::int64_t last = std::min(first + strip, label_tiles_.tiles.count());
            pool.for_ranges(last - first, 1, [&](std::int64_t tile, std::int64_t, int worker) {
                init_tile(first + tile, workspaces_[static_cast<std::size_t>(worker)]);
            });
            if (unary_.consumed) consume(first, last);
        }
    }

    void init_tile(std::int64_t tile, Workspace& workspace) {
        const LabelTile& label_tile = label_tiles_[tile];
        std::vector<const float*> planes;
        for (const std::int32_t column : label_tile.columns) planes.push_back(active_.plane(unary_, column));
        open_summary(label_tile, workspace);
        if (label_tile.width > 0)
            for_lines(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                float* rows = scores_.data() + label_tile.start + place * label_tile.width;
                if (unary_.point_stride == 1)
                    for (const float* plane : planes) label_tiles_.tiles.prefetch_next(plane, 1, begin, end);
                loops_.scores(unary_.energies, planes.data(), label_tile.count(), unary_.point_stride, begin,
                              end - begin, rows, label_tile.width);
                if (label_tile.decided()) return;
                std::copy_n(rows, (end - begin) * label_tile.width, workspace.scores.data());
                loops_.softmax(end - begin, workspace.scores.data(),
                               q_.data() + label_tile.start + place * label_tile.width, label_tile.width,
                               workspace.largest.data(), nullptr);
            });
        if (label_tile.decided()) decide(tile);
        std::fill_n(&active_.largest(tile, 0), active_.columns(), 0.0f);
        close_summary(label_tile, tile, workspace);
        splat(tile, q_, workspace);
    }

    // Whole rows of tiles. Where the unary term is consumed, its memory goes back while that of Q is taken.
    std::int64_t strip_of_tiles() const {
        constexpr std::int64_t kStrips = 16;
        const Tiles& tiles = label_tiles_.tiles;
        return unary_.consumed ? tiles.across() * ((tiles.count() / tiles.across() + kStrips - 1) / kStrips)
                               : tiles.count();
    }

    // Of tiles that are whole rows of them.
    void consume(std::int64_t first_tile, std::int64_t last_tile) const {
        const Tiles& tiles = label_tiles_.tiles;
        const std::int64_t begin = tiles.top(first_tile) * tiles.line(),
                           end = std::min(tiles.top(last_tile) * tiles.line(), unary_.points);
        for (std::int64_t label = 0; label < unary_.labels; ++label)
            give_back(const_cast<float*>(unary_.values) + label * unary_.label_stride + begin,
                      static_cast<std::size_t>(end - begin));
    }

    void open_summary(const LabelTile& label_tile, Workspace& workspace) {
        workspace.largest.assign(static_cast<std::size_t>(std::max<std::int64_t>(label_tile.width, 1)),
                                 label_tile.decided() ? 1.0f : 0.0f);
    }

    void close_summary(const LabelTile& label_tile, std::int64_t tile, const Workspace& workspace) {
        for (std::size_t c = 0; c < label_tile.columns.size(); ++c)
            active_.largest(tile, static_cast<std::size_t>(label_tile.columns[c])) = workspace.largest[c];
    }

    void softmax(std::int64_t tile, std::int64_t place, std::int64_t count, Workspace& workspace,
                 Buffer<float>& q) {
        const LabelTile& label_tile = label_tiles_[tile];
        const auto at = label_tile.start + static_cast<std::size_t>(place * label_tile.width);
        const bool compare = settings_.tolerance > 0;
        if (compare && &q != &q_) std::copy_n(q_.data() + at, count * label_tile.width, q.data() + at);
        loops_.softmax(count, workspace.scores.data(), q.data() + at, label_tile.width,
                       workspace.largest.data(), compare ? &workspace.change : nullptr);
    }

    Buffer<float>& written() { return next_q_.size() > 0 ? next_q_ : q_; }

    // Where the tile has rows, they are the same from now on.
    void decide(std::int64_t tile) {
        const LabelTile& label_tile = label_tiles_[tile];
        for (Buffer<float>* rows : {&q_, &written()})
            for (std::int64_t at = 0; at < label_tiles_.points(tile) * label_tile.width; ++at)
                rows->data()[label_tile.start + static_cast<std::size_t>(at)] =
                    at % label_tile.width == 0 ? 1.0f : 0.0f;
    }

    void splat(std::int64_t tile, const Buffer<float>& rows, Workspace& workspace) {
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f]->splat(label_tiles_, tile, rows.data(), workspace.of_filters[f].data());
    }

    // Calls body(place, begin, end) for a tile's lines, workspace.scores holding these points' scores plus
    // all messages to them.
    template <class Body>
    void with_messages(ThreadPool& pool, std::int64_t tile, int worker, const Body& body) {
        Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
        const LabelTile& label_tile = label_tiles_[tile];
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f]->begin_tile(label_tiles_, tile, q_.data(), workspace.of_filters[f].data());
        gather_gains(label_tile, workspace);
        for_lines(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
            if (worker == 0) pool.poll();  // a tile may take long: the exact kernel looks at all points
            const float* base = scores_.data() + label_tile.start + place * label_tile.width;
            for (std::size_t f = 0; f < parts_.size(); ++f) {
                const float* message =
                    parts_[f]->slice(label_tiles_, tile, place, begin, end, workspace.of_filters[f].data(),
                                     workspace.message.data());
                const float* post_scale = terms_[f].post_scale.data() + begin;
                if (mixes(terms_[f]))
                    loops_.add_product(end - begin, post_scale, matrices_[f].data(), message,
                                       label_tile.count(), base, workspace.scores.data(), label_tile.width);
                else
                    loops_.add(end - begin, post_scale,
                               workspace.gains.data() + f * static_cast<std::size_t>(label_tile.width),
                               message, base, workspace.scores.data(), label_tile.width);
                base = workspace.scores.data();
            }
            if (parts_.empty()) std::copy_n(base, (end - begin) * label_tile.width, workspace.scores.data());
            body(place, begin, end);
        });
    }

    // Splats the new Q at once if it will be needed: the cache still holds it. Returns the largest change of
    // Q if there is a tolerance.
    float step(ThreadPool& pool, bool splat_too) {
        for (Workspace& workspace : workspaces_) workspace.change = 0.0f;
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const LabelTile& label_tile = label_tiles_[tile];
            if (label_tile.decided()) return;
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            open_summary(label_tile, workspace);
            with_messages(pool, tile, worker, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                softmax(tile, place, end - begin, workspace, written());
            });
            close_summary(label_tile, tile, workspace);
            if (splat_too) splat(tile, written(), workspace);
        });
        if (next_q_.size() > 0) std::swap(q_, next_q_);
        float change = 0.0f;
        for (const Workspace& workspace : workspaces_) change = std::max(change, workspace.change);
        return change;
    }

    // The expected energy, sum Q unary - 1/2 sum Q message, and the entropy of Q. Point by point: which
    // thread had which points must not show in the sums.
    void measure(ThreadPool& pool, Report& report) {
        std::vector<double> energies(static_cast<std::size_t>(unary_.points)), entropies(energies);
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const LabelTile& label_tile = label_tiles_[tile];
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            with_messages(pool, tile, worker, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                for (std::int64_t p = begin; p < end; ++p) {
                    const std::size_t row =
                        label_tile.start + static_cast<std::size_t>((place + p - begin) * label_tile.width);
                    add_energy(label_tile.columns.size(), q_.data() + row, scores_.data() + row,
                               workspace.scores.data() + (p - begin) * label_tile.width,
                               energies[static_cast<std::size_t>(p)], entropies[static_cast<std::size_t>(p)]);
                }
            });
        });
        report.energy.push_back(std::accumulate(energies.begin(), energies.end(), 0.0));
        report.entropy.push_back(std::accumulate(entropies.begin(), entropies.end(), 0.0));
    }

    void gather_gains(const LabelTile& label_tile, Workspace& workspace) const {
        const auto width = static_cast<std::size_t>(label_tile.width);
        workspace.gains.assign(terms_.size() * width, 0.0f);
        for (std::size_t f = 0; f < terms_.size(); ++f)
            for (std::size_t c = 0; c < label_tile.columns.size(); ++c)
                workspace.gains[f * width + c] = terms_[f].compatibility.empty() || mixes(terms_[f])
                                                     ? 1.0f
                                                     : terms_[f].compatibility[static_cast<std::size_t>(
                                                           active_.label_of(label_tile.columns[c]))];
    }

    // Labels leave tiles where that makes the rows narrower, there or in the filters.
    void drop_improbable(ThreadPool& pool) {
        std::vector<bool> absent = active_.improbable_everywhere(bounds_);
        const auto present = static_cast<std::int64_t>(std::count(absent.begin(), absent.end(), false));
        const bool narrower =
            padded_width(present) < padded_width(static_cast<std::int64_t>(active_.columns()));
        std::vector<std::vector<std::int32_t>> left(label_tiles_.of_tile.size());
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile) {
            const LabelTile& label_tile = label_tiles_[tile];
            if (label_tile.decided()) continue;
            std::vector<std::int32_t> columns =
                active_.probable(tile, label_tile.columns, absent, label_tiles_.tiles, bounds_);
            const auto has_absent = [&](std::int32_t column) {
                return absent[static_cast<std::size_t>(column)];
            };
            if (columns.size() == 1 ||
                padded_width(static_cast<std::int64_t>(columns.size())) < label_tile.width ||
                (narrower && std::any_of(label_tile.columns.begin(), label_tile.columns.end(), has_absent)))
                left[static_cast<std::size_t>(tile)] = std::move(columns);
        }
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            std::vector<std::int32_t>& columns = left[static_cast<std::size_t>(tile)];
            if (columns.empty()) return;
            LabelTile& label_tile = label_tiles_[tile];
            const std::vector<std::int32_t> places = label_tile.places_of(columns);
            const auto count = static_cast<std::int64_t>(columns.size());
            const std::int64_t width = width_of(columns);
            const auto narrow = [&](Buffer<float>& rows, float padding) {
                float* first = rows.data() + label_tile.start;
                loops_.pick(label_tiles_.points(tile), first, label_tile.width, places.data(), count, padding,
                            first, width);
            };
            if (width > 0) narrow(scores_, -std::numeric_limits<float>::infinity());
            if (width > 0) narrow(q_, 0.0f);
            std::fill_n(&active_.largest(tile, 0), active_.columns(), 0.0f);
            label_tile.columns = std::move(columns);
            label_tile.width = width;
            if (!label_tile.decided()) return;
            active_.largest(tile, static_cast<std::size_t>(label_tile.columns[0])) = 1.0f;
            decide(tile);
            splat(tile, q_, workspaces_[static_cast<std::size_t>(worker)]);  // once and for all
        });
        if (!narrower) return;
        renumber(absent);
        std::int64_t widest = 4;
        for (const LabelTile& label_tile : label_tiles_.of_tile) widest = std::max(widest, label_tile.width);
        for (std::size_t f = 0; f < parts_.size(); ++f) {
            parts_[f]->narrow(padded_width(static_cast<std::int64_t>(active_.columns())));
            for (Workspace& workspace : workspaces_)
                if (workspace.of_filters[f].size() < parts_[f]->scratch(widest))
                    workspace.of_filters[f] = Buffer<float>(parts_[f]->scratch(widest));
        }
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            splat(tile, q_, workspaces_[static_cast<std::size_t>(worker)]);
        });
    }

    const std::vector<Term>& terms_;
    Unary unary_;
    Settings settings_;
    PruningBounds bounds_;
    const Kernels& loops_ = kernels();
    SparseLabelTiles label_tiles_;
    ActiveLabels active_;
    std::vector<std::unique_ptr<FilterState>> parts_;  // of the terms
    std::vector<std::vector<float>> matrices_;         // [from][to], padded; empty unless labels mix
    std::vector<Workspace> workspaces_;
    Buffer<float> scores_;      // minus the unary term
    Buffer<float> q_, next_q_;  // each step reads one and writes the other, if there is another
};

}  // namespace atrous
