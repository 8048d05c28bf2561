// Mean field inference with label pruning per tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/active_labels.hpp"
#include "mean_field/messages.hpp"
#include "mean_field/pruning.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Stores, in each tile, rows of the labels that are not pruned there. A tile with one label is decided: no
// step computes it again.
class MeanField {
  public:
    MeanField(const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
              const Settings& settings)
        : unary_(unary), settings_(settings), bounds_(settings.prune, terms), messages_(terms, unary.labels) {
        label_tiles_.tiles = tiles;
        label_tiles_.of_tile.resize(static_cast<std::size_t>(tiles.count()));
        // If labels mix, an improbable label may rise by the messages of others.
        if (messages_.mix_labels()) bounds_ = {0.0f, terms};
        // In other filters, such as those of volumes, adjacent tiles need not hold neighboring points.
        if (!messages_.take_tiles()) bounds_.tile = 0.0f;
    }

    // Throws std::domain_error if the unary term has invalid values.
    Report infer(ThreadPool& pool) {
        Report report;
        active_.scan_unary(pool, unary_, label_tiles_.tiles);
        for (LabelTile& label_tile : label_tiles_.of_tile) label_tile.columns = active_.labels();
        prune_unary();
        begin(pool);
        while (report.steps < settings_.iterations) {
            messages_.blur(pool);
            if (settings_.trace) measure(pool, report);
            const bool last = ++report.steps == settings_.iterations;
            const float change = step(pool, !last || settings_.trace);
            if (settings_.tolerance > 0 && change <= settings_.tolerance) break;
            if (!last) prune(pool);
        }
        if (settings_.trace) {
            messages_.blur(pool);
            measure(pool, report);
        }
        messages_.stop();
        scores_ = Buffer<float>();
        next_q_ = Buffer<float>();
        report.active_labels = active_.labels();
        return report;
    }

    // Writes each label's probabilities to its plane, `stride` floats apart. out_is_zero: the planes hold
    // zeros, so pruned labels need no writes.
    void probabilities(ThreadPool& pool, float* planes, std::int64_t label_stride, std::int64_t stride,
                       bool out_is_zero = false) const {
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const LabelTile& label_tile = label_tiles_[tile];
            std::vector<std::int64_t> column_of(static_cast<std::size_t>(unary_.labels), -1);
            for (std::size_t c = 0; c < label_tile.columns.size(); ++c)
                column_of[static_cast<std::size_t>(active_.label_of(label_tile.columns[c]))] =
                    static_cast<std::int64_t>(c);
            for (std::int64_t label = 0; label < unary_.labels; ++label) {
                const std::int64_t column = column_of[static_cast<std::size_t>(label)];
                if (column < 0 && out_is_zero) continue;
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

    // Writes the most probable label of each point, the first one of equals.
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
    // Results of one worker: each column's largest ratio in a tile, and the largest change of Q in a step.
    struct Workspace {
        std::vector<float> largest;
        float change = 0.0f;
    };

    // Decided tiles need rows for the energy only.
    std::int64_t width_of(const std::vector<std::int32_t>& columns) const {
        const auto count = static_cast<std::int64_t>(columns.size());
        return count == 1 && !settings_.trace ? 0 : padded_width(count);
    }

    // Prunes by the unary term alone, and allocates the rows of the labels that remain.
    void prune_unary() {
        const std::vector<bool> improbable = active_.improbable_everywhere(bounds_);
        std::vector<std::vector<std::int32_t>> remaining;
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile)
            remaining.push_back(
                active_.probable(tile, label_tiles_[tile].columns, improbable, label_tiles_.tiles, bounds_));
        std::size_t floats = 0;
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile) {
            LabelTile& label_tile = label_tiles_[tile];
            label_tile.columns = std::move(remaining[static_cast<std::size_t>(tile)]);
            label_tile.width = width_of(label_tile.columns);
            label_tile.start = floats;
            floats += static_cast<std::size_t>(label_tiles_.points(tile) * label_tile.width);
        }
        scores_ = Buffer<float>(floats);
        q_ = Buffer<float>(floats);
        renumber(improbable);
    }

    // Removes the absent columns, which no tile has, and renumbers the others.
    void renumber(const std::vector<bool>& absent) {
        const std::vector<std::int32_t> number = active_.renumber(absent);
        for (LabelTile& label_tile : label_tiles_.of_tile)
            for (std::int32_t& column : label_tile.columns) column = number[static_cast<std::size_t>(column)];
    }

    // Computes the scores and Q of the unary term, and splats Q.
    void begin(ThreadPool& pool) {
        messages_.start(pool.size(), label_tiles_, static_cast<std::int64_t>(active_.columns()),
                        settings_.iterations > 0 || settings_.trace);
        if (messages_.read_rows()) next_q_ = Buffer<float>(q_.size());
        workspaces_.resize(static_cast<std::size_t>(pool.size()));
        const std::int64_t strip = strip_of_tiles();
        for (std::int64_t first = 0; first < label_tiles_.tiles.count(); first += strip) {
            const std::int64_t last = std::min(first + strip, label_tiles_.tiles.count());
            pool.for_ranges(last - first, 1, [&](std::int64_t tile, std::int64_t, int worker) {
                init_tile(first + tile, worker);
            });
            if (unary_.in_place) release_unary(first, last);
        }
    }

    void init_tile(std::int64_t tile, int worker) {
        Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
        const LabelTile& label_tile = label_tiles_[tile];
        std::vector<const float*> planes;
        for (const std::int32_t column : label_tile.columns) planes.push_back(active_.plane(unary_, column));
        open_summary(label_tile, workspace);
        if (label_tile.width > 0)
            label_tiles_.for_chunks_of(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                float* rows = scores_.data() + label_tile.start + place * label_tile.width;
                if (unary_.point_stride == 1)
                    for (const float* plane : planes) label_tiles_.tiles.prefetch_next(plane, 1, begin, end);
                loops_.scores(unary_.energies, planes.data(), label_tile.count(), unary_.point_stride, begin,
                              end - begin, rows, label_tile.width);
                if (label_tile.decided()) return;
                float* copied = messages_.sums(worker);
                std::copy_n(rows, (end - begin) * label_tile.width, copied);
                loops_.softmax(end - begin, copied, q_.data() + label_tile.start + place * label_tile.width,
                               label_tile.width, workspace.largest.data(), nullptr);
            });
        if (label_tile.decided()) decide(tile);
        std::fill_n(&active_.largest(tile, 0), active_.columns(), 0.0f);
        close_summary(label_tile, tile, workspace);
        messages_.splat(label_tiles_, tile, q_.data(), worker);
    }

    // Tiles in a strip, which is whole rows of tiles. In place, the unary term's memory is freed strip by
    // strip while that of Q is allocated.
    std::int64_t strip_of_tiles() const {
        constexpr std::int64_t kStrips = 16;
        const Tiles& tiles = label_tiles_.tiles;
        return unary_.in_place ? tiles.across() * ((tiles.count() / tiles.across() + kStrips - 1) / kStrips)
                               : tiles.count();
    }

    // Zeroes the unary term in whole rows of tiles, which frees its pages on Linux.
    void release_unary(std::int64_t first_tile, std::int64_t last_tile) const {
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

    void softmax(std::int64_t tile, std::int64_t place, std::int64_t count, int worker, Buffer<float>& q) {
        Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
        const LabelTile& label_tile = label_tiles_[tile];
        const auto at = label_tile.start + static_cast<std::size_t>(place * label_tile.width);
        const bool compare = settings_.tolerance > 0;
        if (compare && &q != &q_) std::copy_n(q_.data() + at, count * label_tile.width, q.data() + at);
        loops_.softmax(count, messages_.sums(worker), q.data() + at, label_tile.width,
                       workspace.largest.data(), compare ? &workspace.change : nullptr);
    }

    Buffer<float>& written() { return next_q_.size() > 0 ? next_q_ : q_; }

    // Fills a decided tile's rows, if it has any, with their final values.
    void decide(std::int64_t tile) {
        const LabelTile& label_tile = label_tiles_[tile];
        for (Buffer<float>* rows : {&q_, &written()})
            for (std::int64_t at = 0; at < label_tiles_.points(tile) * label_tile.width; ++at)
                rows->data()[label_tile.start + static_cast<std::size_t>(at)] =
                    at % label_tile.width == 0 ? 1.0f : 0.0f;
    }

    // Calls body(place, begin, end) for a tile's chunks, with their scores plus all messages in sums(worker).
    template <class Body>
    void with_messages(ThreadPool& pool, std::int64_t tile, int worker, const Body& body) {
        messages_.add(pool, label_tiles_, active_, tile, scores_.data(), q_.data(), worker, body);
    }

    // One step. splat_too: splats the new Q of each tile while it is in cache, for the next step. Returns the
    // largest change of Q if there is a tolerance, else 0.
    float step(ThreadPool& pool, bool splat_too) {
        for (Workspace& workspace : workspaces_) workspace.change = 0.0f;
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const LabelTile& label_tile = label_tiles_[tile];
            if (label_tile.decided()) return;
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            open_summary(label_tile, workspace);
            with_messages(pool, tile, worker, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                softmax(tile, place, end - begin, worker, written());
            });
            close_summary(label_tile, tile, workspace);
            if (splat_too) messages_.splat(label_tiles_, tile, written().data(), worker);
        });
        if (next_q_.size() > 0) std::swap(q_, next_q_);
        float change = 0.0f;
        for (const Workspace& workspace : workspaces_) change = std::max(change, workspace.change);
        return change;
    }

    // Appends the expected energy, sum Q unary - 1/2 sum Q message, and the entropy of Q. Stores each point's
    // part first, so that the sums do not depend on which thread had which points.
    void measure(ThreadPool& pool, Report& report) {
        std::vector<double> energies(static_cast<std::size_t>(unary_.points)), entropies(energies);
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const LabelTile& label_tile = label_tiles_[tile];
            with_messages(pool, tile, worker, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                for (std::int64_t p = begin; p < end; ++p) {
                    const std::size_t row =
                        label_tile.start + static_cast<std::size_t>((place + p - begin) * label_tile.width);
                    add_energy(label_tile.columns.size(), q_.data() + row, scores_.data() + row,
                               messages_.sums(worker) + (p - begin) * label_tile.width,
                               energies[static_cast<std::size_t>(p)], entropies[static_cast<std::size_t>(p)]);
                }
            });
        });
        report.energy.push_back(std::accumulate(energies.begin(), energies.end(), 0.0));
        report.entropy.push_back(std::accumulate(entropies.begin(), entropies.end(), 0.0));
    }

    // Prunes labels in tiles where that narrows the rows, there or in the filters.
    void prune(ThreadPool& pool) {
        const std::vector<bool> absent = active_.improbable_everywhere(bounds_);
        const auto present = static_cast<std::int64_t>(std::count(absent.begin(), absent.end(), false));
        const bool narrower =
            padded_width(present) < padded_width(static_cast<std::int64_t>(active_.columns()));
        compact(pool, columns_to_keep(absent, narrower));
        if (narrower) narrow_filters(pool, absent);
    }

    // Returns the columns that each tile keeps; none for tiles whose rows stay as they are. narrower: the
    // absent columns must leave all tiles, because they leave the filters.
    std::vector<std::vector<std::int32_t>> columns_to_keep(const std::vector<bool>& absent,
                                                           bool narrower) const {
        const auto is_absent = [&](std::int32_t column) { return absent[static_cast<std::size_t>(column)]; };
        std::vector<std::vector<std::int32_t>> kept(label_tiles_.of_tile.size());
        for (std::int64_t tile = 0; tile < label_tiles_.tiles.count(); ++tile) {
            const LabelTile& label_tile = label_tiles_[tile];
            if (label_tile.decided()) continue;
            std::vector<std::int32_t> columns =
                active_.probable(tile, label_tile.columns, absent, label_tiles_.tiles, bounds_);
            if (columns.size() == 1 ||
                padded_width(static_cast<std::int64_t>(columns.size())) < label_tile.width ||
                (narrower && std::any_of(label_tile.columns.begin(), label_tile.columns.end(), is_absent)))
                kept[static_cast<std::size_t>(tile)] = std::move(columns);
        }
        return kept;
    }

    // Removes all but the kept columns from the tiles' rows, in place, and decides tiles with one label.
    void compact(ThreadPool& pool, std::vector<std::vector<std::int32_t>> kept) {
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            std::vector<std::int32_t>& columns = kept[static_cast<std::size_t>(tile)];
            if (columns.empty()) return;
            LabelTile& label_tile = label_tiles_[tile];
            const std::vector<std::int32_t> sources = label_tile.source_columns(columns);
            const auto count = static_cast<std::int64_t>(columns.size());
            const std::int64_t width = width_of(columns);
            const auto narrow = [&](Buffer<float>& rows, float padding) {
                float* first = rows.data() + label_tile.start;
                loops_.gather_columns(label_tiles_.points(tile), first, label_tile.width, sources.data(),
                                      count, padding, first, width);
            };
            if (width > 0) narrow(scores_, -std::numeric_limits<float>::infinity());
            if (width > 0) narrow(q_, 0.0f);
            std::fill_n(&active_.largest(tile, 0), active_.columns(), 0.0f);
            label_tile.columns = std::move(columns);
            label_tile.width = width;
            if (!label_tile.decided()) return;
            active_.largest(tile, static_cast<std::size_t>(label_tile.columns[0])) = 1.0f;
            decide(tile);
            messages_.splat(label_tiles_, tile, q_.data(), worker);  // a step splats no decided tile
        });
    }

    // Removes the absent columns from the filters, and splats all tiles again.
    void narrow_filters(ThreadPool& pool, const std::vector<bool>& absent) {
        renumber(absent);
        messages_.narrow(label_tiles_, static_cast<std::int64_t>(active_.columns()));
        pool.for_ranges(label_tiles_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            messages_.splat(label_tiles_, tile, q_.data(), worker);
        });
    }

    Unary unary_;
    Settings settings_;
    PruningBounds bounds_;
    const Kernels& loops_ = kernels();
    SparseLabelTiles label_tiles_;
    ActiveLabels active_;
    Messages messages_;
    std::vector<Workspace> workspaces_;
    Buffer<float> scores_;      // the negated unary term
    Buffer<float> q_, next_q_;  // a step reads q_ and writes next_q_, or q_ if next_q_ is empty
};

}  // namespace atrous
