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
#include "inner_loops.hpp"
#include "model.hpp"
#include "presence.hpp"
#include "sheets.hpp"

namespace atrous {

// What MeanField computes, but for labels that are improbable all over a tile, which leave the tile. A tile
// that is left with one label has nothing more to compute.
class LocalField {
  public:
    LocalField(const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
               const Settings& settings)
        : terms_(terms), unary_(unary), settings_(settings), bounds_(settings.prune, terms) {
        sheets_.tiles = tiles;
        sheets_.of_tile.resize(static_cast<std::size_t>(tiles.count()));
    }

    // Whether it can do what is asked for.
    static bool suits(const std::vector<Term>& terms, const Settings& settings, std::int64_t labels) {
        const auto square = static_cast<std::size_t>(labels * labels);
        return settings.tolerance == 0 && settings.iterations > 0 && labels > 1 &&
               std::all_of(terms.begin(), terms.end(), [&](const Term& term) {
                   return (term.before.empty() || term.filter->pre_scales()) && term.gains.size() != square &&
                          term.filter->takes_sheets();
               });
    }

    // Throws std::domain_error where the unary term has values that cannot be used.
    Report infer(Team& team) {
        Report report;
        present_.survey(team, unary_, sheets_.tiles);
        for (Sheet& sheet : sheets_.of_tile) sheet.columns = present_.kept();
        keep_probable();
        begin(team);
        while (report.steps < settings_.iterations) {
            for (const auto& part : parts_) part->spread(team);
            if (settings_.trace) measure(team, report);
            const bool last = ++report.steps == settings_.iterations;
            step(team, !last || settings_.trace);
            if (!last) drop_improbable(team);
        }
        if (settings_.trace) {
            for (const auto& part : parts_) part->spread(team);
            measure(team, report);
        }
        parts_.clear();
        scores_ = Buffer<float>();
        next_q_ = Buffer<float>();
        report.kept = present_.kept();
        return report;
    }

    // As of MeanField.
    void probabilities(Team& team, float* planes, std::int64_t label_stride, std::int64_t stride,
                       bool zeroed = false) const {
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const Sheet& sheet = sheets_[tile];
            std::vector<std::int64_t> place(static_cast<std::size_t>(unary_.labels), -1);
            for (std::size_t c = 0; c < sheet.columns.size(); ++c)
                place[static_cast<std::size_t>(present_.label_of(sheet.columns[c]))] =
                    static_cast<std::int64_t>(c);
            for (std::int64_t label = 0; label < unary_.labels; ++label) {
                const std::int64_t column = place[static_cast<std::size_t>(label)];
                if (column < 0 && zeroed) continue;
                const float* from = q_.data() + sheet.start + std::max<std::int64_t>(column, 0);
                sheets_.tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                    float* to = planes + label * label_stride;
                    for (std::int64_t p = begin; p < end; ++p)
                        to[p * stride] = column < 0        ? 0.0f
                                         : sheet.decided() ? 1.0f
                                                           : from[(p - begin) * sheet.width];
                    from += (end - begin) * sheet.width;
                });
            }
        });
    }

    // The most probable label of each point; of equals the first.
    void labels(Team& team, std::int32_t* out) const {
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t) {
            const Sheet& sheet = sheets_[tile];
            const float* row = q_.data() + sheet.start;
            sheets_.tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t p = begin; p < end; ++p, row += sheet.width) {
                    std::int64_t best = 0;
                    for (std::int64_t c = 1; c < sheet.count(); ++c)
                        if (row[c] > row[best]) best = c;
                    out[p] = present_.label_of(sheet.columns[static_cast<std::size_t>(best)]);
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
    };

    // A tile that is decided needs rows for its energy alone.
    std::int64_t width_of(const std::vector<std::int32_t>& columns) const {
        const auto count = static_cast<std::int64_t>(columns.size());
        return count == 1 && !settings_.trace ? 0 : padded_width(count);
    }

    // Before any rows exist.
    void keep_probable() {
        const std::vector<bool> improbable = present_.improbable_everywhere(bounds_);
        std::vector<std::vector<std::int32_t>> left;
        for (std::int64_t tile = 0; tile < sheets_.tiles.count(); ++tile)
            left.push_back(
                present_.probable(tile, sheets_[tile].columns, improbable, sheets_.tiles, bounds_));
        std::size_t floats = 0;
        for (std::int64_t tile = 0; tile < sheets_.tiles.count(); ++tile) {
            Sheet& sheet = sheets_[tile];
            sheet.columns = std::move(left[static_cast<std::size_t>(tile)]);
            sheet.width = width_of(sheet.columns);
            sheet.start = floats;
            floats += static_cast<std::size_t>(sheets_.points(tile) * sheet.width);
        }
        scores_ = Buffer<float>(floats);
        q_ = Buffer<float>(floats);
        renumber(improbable);
    }

    // Leaves out the columns that no tile has.
    void renumber(const std::vector<bool>& absent) {
        const std::vector<std::int32_t> number = present_.renumber(absent);
        for (Sheet& sheet : sheets_.of_tile)
            for (std::int32_t& column : sheet.columns) column = number[static_cast<std::size_t>(column)];
    }

    void start_filters(Team& team) {
        const std::int64_t width = padded_width(static_cast<std::int64_t>(present_.columns()));
        parts_.clear();
        for (const Term& term : terms_)
            parts_.push_back(term.filter->start_sheets(width, term.float16 && term.before.empty()));
        if (std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->reads_rows(); }))
            next_q_ = Buffer<float>(q_.size());
        std::int64_t widest = 4;
        for (const Sheet& sheet : sheets_.of_tile) widest = std::max(widest, sheet.width);
        workspaces_.resize(static_cast<std::size_t>(team.size()));
        for (Workspace& workspace : workspaces_) {
            workspace.scores = Buffer<float>(static_cast<std::size_t>(chunk() * widest));
            workspace.message = Buffer<float>(static_cast<std::size_t>(chunk() * widest));
            workspace.of_filters.clear();
            for (const auto& part : parts_) workspace.of_filters.emplace_back(part->scratch(widest));
        }
    }

    std::int64_t chunk() const { return std::min<std::int64_t>(sheets_.tiles.width(), 256); }

    // Calls body(place, begin, end) for the lines of a tile, in chunks.
    template <class Body>
    void for_lines(std::int64_t tile, const Body& body) const {
        std::int64_t place = 0;
        sheets_.tiles.segments(tile, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t begin = first; begin < last; begin += chunk()) {
                const std::int64_t end = std::min(last, begin + chunk());
                body(place, begin, end);
                place += end - begin;
            }
        });
    }

    void begin(Team& team) {
        start_filters(team);
        const std::int64_t strip = strip_of_tiles();
        for (std::int64_t first = 0; first < sheets_.tiles.count(); first += strip) {
            const std::int64_t last = std::min(first + strip, sheets_.tiles.count());
            team.for_ranges(last - first, 1, [&](std::int64_t tile, std::int64_t, int worker) {
                begin_tile(first + tile, workspaces_[static_cast<std::size_t>(worker)]);
            });
            if (unary_.consumed) consume(first, last);
        }
    }

    void begin_tile(std::int64_t tile, Workspace& workspace) {
        const Sheet& sheet = sheets_[tile];
        std::vector<const float*> planes;
        for (const std::int32_t column : sheet.columns) planes.push_back(present_.plane(unary_, column));
        open_summary(sheet, workspace);
        if (sheet.width > 0)
            for_lines(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                float* rows = scores_.data() + sheet.start + place * sheet.width;
                if (unary_.point_stride == 1)
                    for (const float* plane : planes) sheets_.tiles.prefetch_next(plane, 1, begin, end);
                loops_.scores(unary_.energies, planes.data(), sheet.count(), unary_.point_stride, begin,
                              end - begin, rows, sheet.width);
                if (sheet.decided()) return;
                std::copy_n(rows, (end - begin) * sheet.width, workspace.scores.data());
                softmax(tile, place, end - begin, workspace, q_);
            });
        if (sheet.decided()) decide(tile);
        std::fill_n(&present_.largest(tile, 0), present_.columns(), 0.0f);
        close_summary(sheet, tile, workspace);
        put(tile, q_, workspace);
    }

    // Whole rows of tiles. Where the unary term is consumed, its memory goes back while that of Q is taken.
    std::int64_t strip_of_tiles() const {
        constexpr std::int64_t kStrips = 16;
        const Tiles& tiles = sheets_.tiles;
        return unary_.consumed ? tiles.across() * ((tiles.count() / tiles.across() + kStrips - 1) / kStrips)
                               : tiles.count();
    }

    // Of tiles that are whole rows of them.
    void consume(std::int64_t first_tile, std::int64_t last_tile) const {
        const Tiles& tiles = sheets_.tiles;
        const std::int64_t begin = tiles.top(first_tile) * tiles.line(),
                           end = std::min(tiles.top(last_tile) * tiles.line(), unary_.points);
        for (std::int64_t label = 0; label < unary_.labels; ++label)
            give_back(const_cast<float*>(unary_.values) + label * unary_.label_stride + begin,
                      static_cast<std::size_t>(end - begin));
    }

    void open_summary(const Sheet& sheet, Workspace& workspace) {
        workspace.largest.assign(static_cast<std::size_t>(std::max<std::int64_t>(sheet.width, 1)),
                                 sheet.decided() ? 1.0f : 0.0f);
    }

    void close_summary(const Sheet& sheet, std::int64_t tile, const Workspace& workspace) {
        for (std::size_t c = 0; c < sheet.columns.size(); ++c)
            present_.largest(tile, static_cast<std::size_t>(sheet.columns[c])) = workspace.largest[c];
    }

    void softmax(std::int64_t tile, std::int64_t place, std::int64_t count, Workspace& workspace,
                 Buffer<float>& q) {
        const Sheet& sheet = sheets_[tile];
        loops_.softmax(count, workspace.scores.data(), q.data() + sheet.start + place * sheet.width,
                       sheet.width, workspace.largest.data(), nullptr);
    }

    Buffer<float>& written() { return next_q_.size() > 0 ? next_q_ : q_; }

    // Where the tile has rows, they are the same from now on.
    void decide(std::int64_t tile) {
        const Sheet& sheet = sheets_[tile];
        for (Buffer<float>* rows : {&q_, &written()})
            for (std::int64_t at = 0; at < sheets_.points(tile) * sheet.width; ++at)
                rows->data()[sheet.start + static_cast<std::size_t>(at)] =
                    at % sheet.width == 0 ? 1.0f : 0.0f;
    }

    void put(std::int64_t tile, const Buffer<float>& rows, Workspace& workspace) {
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f]->put(sheets_, tile, terms_[f].before.empty() ? nullptr : terms_[f].before.data(),
                           rows.data(), workspace.of_filters[f].data());
    }

    // Calls body(place, begin, end) for a tile's lines, workspace.scores holding these points' scores plus
    // all messages to them.
    template <class Body>
    void with_messages(std::int64_t tile, Workspace& workspace, const Body& body) const {
        const Sheet& sheet = sheets_[tile];
        for (std::size_t f = 0; f < parts_.size(); ++f)
            parts_[f]->visit(sheets_, tile, q_.data(), workspace.of_filters[f].data());
        gather_gains(sheet, workspace);
        for_lines(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
            const float* base = scores_.data() + sheet.start + place * sheet.width;
            for (std::size_t f = 0; f < parts_.size(); ++f) {
                const float* message =
                    parts_[f]->read(sheets_, tile, place, begin, end, workspace.of_filters[f].data(),
                                    workspace.message.data());
                loops_.add(end - begin, terms_[f].after.data() + begin,
                           workspace.gains.data() + f * static_cast<std::size_t>(sheet.width), message, base,
                           workspace.scores.data(), sheet.width);
                base = workspace.scores.data();
            }
            if (parts_.empty()) std::copy_n(base, (end - begin) * sheet.width, workspace.scores.data());
            body(place, begin, end);
        });
    }

    // Puts the new Q into the filters at once if it will be needed there: the cache still holds it.
    void step(Team& team, bool put_too) {
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const Sheet& sheet = sheets_[tile];
            if (sheet.decided()) return;
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            open_summary(sheet, workspace);
            with_messages(tile, workspace, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                softmax(tile, place, end - begin, workspace, written());
            });
            close_summary(sheet, tile, workspace);
            if (put_too) put(tile, written(), workspace);
        });
        if (next_q_.size() > 0) std::swap(q_, next_q_);
    }

    // As of MeanField.
    void measure(Team& team, Report& report) {
        std::vector<double> energies(static_cast<std::size_t>(unary_.points)), entropies(energies);
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            const Sheet& sheet = sheets_[tile];
            Workspace& workspace = workspaces_[static_cast<std::size_t>(worker)];
            with_messages(tile, workspace, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
                for (std::int64_t p = begin; p < end; ++p) {
                    const std::size_t row =
                        sheet.start + static_cast<std::size_t>((place + p - begin) * sheet.width);
                    add_energy(sheet.columns.size(), q_.data() + row, scores_.data() + row,
                               workspace.scores.data() + (p - begin) * sheet.width,
                               energies[static_cast<std::size_t>(p)], entropies[static_cast<std::size_t>(p)]);
                }
            });
        });
        report.energy.push_back(std::accumulate(energies.begin(), energies.end(), 0.0));
        report.entropy.push_back(std::accumulate(entropies.begin(), entropies.end(), 0.0));
    }

    void gather_gains(const Sheet& sheet, Workspace& workspace) const {
        const auto width = static_cast<std::size_t>(sheet.width);
        workspace.gains.assign(terms_.size() * width, 0.0f);
        for (std::size_t f = 0; f < terms_.size(); ++f)
            for (std::size_t c = 0; c < sheet.columns.size(); ++c)
                workspace.gains[f * width + c] =
                    terms_[f].gains.empty()
                        ? 1.0f
                        : terms_[f].gains[static_cast<std::size_t>(present_.label_of(sheet.columns[c]))];
    }

    // Labels leave tiles where that makes the rows narrower, there or in the filters.
    void drop_improbable(Team& team) {
        std::vector<bool> absent = present_.improbable_everywhere(bounds_);
        const auto present = static_cast<std::int64_t>(std::count(absent.begin(), absent.end(), false));
        const bool narrower =
            padded_width(present) < padded_width(static_cast<std::int64_t>(present_.columns()));
        std::vector<std::vector<std::int32_t>> left(sheets_.of_tile.size());
        for (std::int64_t tile = 0; tile < sheets_.tiles.count(); ++tile) {
            const Sheet& sheet = sheets_[tile];
            if (sheet.decided()) continue;
            std::vector<std::int32_t> columns =
                present_.probable(tile, sheet.columns, absent, sheets_.tiles, bounds_);
            const auto has_absent = [&](std::int32_t column) {
                return absent[static_cast<std::size_t>(column)];
            };
            if (columns.size() == 1 ||
                padded_width(static_cast<std::int64_t>(columns.size())) < sheet.width ||
                (narrower && std::any_of(sheet.columns.begin(), sheet.columns.end(), has_absent)))
                left[static_cast<std::size_t>(tile)] = std::move(columns);
        }
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            std::vector<std::int32_t>& columns = left[static_cast<std::size_t>(tile)];
            if (columns.empty()) return;
            Sheet& sheet = sheets_[tile];
            const std::vector<std::int32_t> places = sheet.places_of(columns);
            const auto count = static_cast<std::int64_t>(columns.size());
            const std::int64_t width = width_of(columns);
            const auto narrow = [&](Buffer<float>& rows, float padding) {
                float* first = rows.data() + sheet.start;
                loops_.pick(sheets_.points(tile), first, sheet.width, places.data(), count, padding, first,
                            width);
            };
            if (width > 0) narrow(scores_, -std::numeric_limits<float>::infinity());
            if (width > 0) narrow(q_, 0.0f);
            std::fill_n(&present_.largest(tile, 0), present_.columns(), 0.0f);
            sheet.columns = std::move(columns);
            sheet.width = width;
            if (!sheet.decided()) return;
            present_.largest(tile, static_cast<std::size_t>(sheet.columns[0])) = 1.0f;
            decide(tile);
            put(tile, q_, workspaces_[static_cast<std::size_t>(worker)]);  // once and for all
        });
        if (!narrower) return;
        renumber(absent);
        for (const auto& part : parts_)
            part->narrow(padded_width(static_cast<std::int64_t>(present_.columns())));
        team.for_ranges(sheets_.tiles.count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
            put(tile, q_, workspaces_[static_cast<std::size_t>(worker)]);
        });
    }

    const std::vector<Term>& terms_;
    Unary unary_;
    Settings settings_;
    PruningBounds bounds_;
    const InnerLoops& loops_ = inner_loops();
    Sheets sheets_;
    Presence present_;
    std::vector<std::unique_ptr<SheetFiltering>> parts_;
    std::vector<Workspace> workspaces_;
    Buffer<float> scores_;      // minus the unary term
    Buffer<float> q_, next_q_;  // each step reads one and writes the other, if there is another
};

}  // namespace atrous
