// Messages of all terms to rows of Q that are stored tile by tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/active_labels.hpp"
#include "mean_field/types.hpp"
#include "mean_field/whole_image.hpp"
#include "simd/kernels.hpp"
#include "sparse_label_tiles.hpp"

namespace atrous {

// Filters Q with the kernels of all terms, and adds the messages to scores. Each worker has its own buffers.
class Messages {
  public:
    // The terms must outlive it.
    Messages(const std::vector<Term>& terms, std::int64_t labels) : terms_(terms), labels_(labels) {}

    // Whether the messages to a label depend on other labels.
    bool mix_labels() const {
        return std::any_of(terms_.begin(), terms_.end(), [&](const Term& term) { return mixes(term); });
    }

    // Whether all filters take rows tile by tile, instead of the rows of all points.
    bool take_tiles() const {
        return std::all_of(terms_.begin(), terms_.end(),
                           [](const Term& term) { return term.filter->takes_tiles(); });
    }

    // Starts the filters for `columns` labels, unless no step follows; allocates the workers' buffers.
    void start(int workers, const SparseLabelTiles& label_tiles, std::int64_t columns, bool steps_follow) {
        const std::int64_t width = padded_width(columns), chunk = label_tiles.chunk();
        filters_.clear();
        matrices_.assign(terms_.size(), {});
        for (std::size_t f = 0; f < terms_.size() && steps_follow; ++f) {
            const Term& term = terms_[f];
            const bool float16 = term.float16 && term.pre_scale.empty();
            const float* pre_scale = term.pre_scale.empty() ? nullptr : term.pre_scale.data();
            if (term.filter->takes_tiles())
                filters_.push_back(term.filter->start_tiles(width, float16, pre_scale));
            else
                filters_.push_back(
                    std::make_unique<WholeImageState>(*term.filter, width, float16, pre_scale, chunk));
            if (mixes(term)) matrices_[f] = padded(term.gains, width);
        }
        const std::int64_t widest = label_tiles.widest();
        workspaces_.resize(static_cast<std::size_t>(workers));
        for (Workspace& workspace : workspaces_) {
            workspace.sums = Buffer<float>(static_cast<std::size_t>(chunk * widest));
            workspace.message = Buffer<float>(static_cast<std::size_t>(chunk * widest));
            workspace.scratch.clear();
            for (const auto& filter : filters_) workspace.scratch.emplace_back(filter->scratch(widest));
        }
    }

    // Frees the filters.
    void stop() { filters_.clear(); }

    // Whether a filter reads the splatted rows until the last slice, so that a step must not overwrite them.
    bool read_rows() const {
        return std::any_of(filters_.begin(), filters_.end(),
                           [](const auto& filter) { return filter->reads_rows(); });
    }

    // Narrows the filters to `columns` labels; all tiles must be splatted again.
    void narrow(const SparseLabelTiles& label_tiles, std::int64_t columns) {
        const std::int64_t widest = label_tiles.widest();
        for (std::size_t f = 0; f < filters_.size(); ++f) {
            filters_[f]->narrow(padded_width(columns));
            for (Workspace& workspace : workspaces_)
                if (workspace.scratch[f].size() < filters_[f]->scratch(widest))
                    workspace.scratch[f] = Buffer<float>(filters_[f]->scratch(widest));
        }
    }

    void splat(const SparseLabelTiles& label_tiles, std::int64_t tile, const float* rows, int worker) {
        for (std::size_t f = 0; f < filters_.size(); ++f)
            filters_[f]->splat(label_tiles, tile, rows, of(worker).scratch[f].data());
    }

    void blur(ThreadPool& pool) {
        for (const auto& filter : filters_) filter->blur(pool);
    }

    // A worker's rows of one chunk: `add` writes them; between calls they are free for other use.
    float* sums(int worker) { return of(worker).sums.data(); }

    // Calls body(place, begin, end) for the chunks of a tile, with scores plus all messages in sums(worker).
    template <class Body>
    void add(ThreadPool& pool, const SparseLabelTiles& label_tiles, const ActiveLabels& active,
             std::int64_t tile, const float* scores, const float* q, int worker, const Body& body) {
        Workspace& workspace = of(worker);
        const LabelTile& label_tile = label_tiles[tile];
        for (std::size_t f = 0; f < filters_.size(); ++f)
            filters_[f]->begin_tile(label_tiles, tile, q, workspace.scratch[f].data());
        gather_gains(label_tile, active, workspace);
        label_tiles.for_chunks_of(tile, [&](std::int64_t place, std::int64_t begin, std::int64_t end) {
            if (worker == 0) pool.poll();  // a tile may take long: the exact kernel reads all points
            const float* base = scores + label_tile.start + place * label_tile.width;
            float* sums = workspace.sums.data();
            for (std::size_t f = 0; f < filters_.size(); ++f) {
                const float* message =
                    filters_[f]->slice(label_tiles, tile, place, begin, end, workspace.scratch[f].data(),
                                       workspace.message.data());
                const float* post_scale = terms_[f].post_scale.data() + begin;
                if (mixes(terms_[f]))
                    loops_.add_product(end - begin, post_scale, matrices_[f].data(), message,
                                       label_tile.count(), base, sums, label_tile.width);
                else
                    loops_.add(end - begin, post_scale,
                               workspace.gains.data() + f * static_cast<std::size_t>(label_tile.width),
                               message, base, sums, label_tile.width);
                base = sums;
            }
            if (filters_.empty()) std::copy_n(base, (end - begin) * label_tile.width, sums);
            body(place, begin, end);
        });
    }

  private:
    // Buffers of one worker.
    struct Workspace {
        Buffer<float> sums, message;         // rows of a chunk
        std::vector<Buffer<float>> scratch;  // of each filter
        std::vector<float> gains;            // [term][column of the tile]
    };

    Workspace& of(int worker) { return workspaces_[static_cast<std::size_t>(worker)]; }

    bool mixes(const Term& term) const {
        return labels_ > 1 && term.gains.size() == static_cast<std::size_t>(labels_ * labels_);
    }

    std::vector<float> padded(const std::vector<float>& matrix, std::int64_t width) const {
        std::vector<float> rows;
        for (std::int64_t from = 0; from < labels_; ++from) {
            const auto row = matrix.begin() + static_cast<std::ptrdiff_t>(from * labels_);
            rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(labels_));
            rows.resize(static_cast<std::size_t>((from + 1) * width), 0.0f);
        }
        return rows;
    }

    void gather_gains(const LabelTile& label_tile, const ActiveLabels& active, Workspace& workspace) const {
        const auto width = static_cast<std::size_t>(label_tile.width);
        workspace.gains.assign(terms_.size() * width, 0.0f);
        for (std::size_t f = 0; f < terms_.size(); ++f) {
            const std::vector<float>& gains = terms_[f].gains;
            for (std::size_t c = 0; c < label_tile.columns.size(); ++c)
                workspace.gains[f * width + c] =
                    gains.empty() || mixes(terms_[f])
                        ? 1.0f
                        : gains[static_cast<std::size_t>(active.label_of(label_tile.columns[c]))];
        }
    }

    const std::vector<Term>& terms_;
    std::int64_t labels_;
    const Kernels& loops_ = kernels();
    std::vector<std::unique_ptr<FilterState>> filters_;  // of the terms
    std::vector<std::vector<float>> matrices_;           // [from][to], padded; empty unless labels mix
    std::vector<Workspace> workspaces_;
};

}  // namespace atrous
