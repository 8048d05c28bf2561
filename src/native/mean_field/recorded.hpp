// Mean field inference that records Q of each step, and its gradient.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "mean_field/term_filter.hpp"
#include "mean_field/types.hpp"
#include "point_values.hpp"
#include "simd/kernels.hpp"

namespace atrous {

// Rows of all labels at all points, in float32; nothing is pruned. S_0 are the logits, Q_t = softmax(S_t),
// and
//
//     S_t+1 = S_0 + sum over terms of m_t G,  m_t = post_scale * K (pre_scale * Q_t).
//
// Let g_t be the gradient with respect to S_t and h_t = pre_scale * K^T (post_scale * g_t). The gradient with
// respect to Q_t is the sum over terms of h_t+1 G^T, that with respect to G the sum over t of Q_t^T h_t+1.
// Since <K x, y> = <x, K^T y>, the messages need not be recorded.
class RecordedMeanField {
  public:
    // The terms must outlive this object, have filters with the same tiles, and have gains.
    RecordedMeanField(const std::vector<Term>& terms, const Tiles& tiles, std::int64_t labels)
        : terms_(terms), tiles_(tiles), labels_(labels), width_(padded_width(labels)) {
        for (const Term& term : terms) gains_.push_back(padded(term, false));
    }

    // Number of floats in Q of all points.
    static std::int64_t size(std::int64_t points, std::int64_t labels) {
        return points * padded_width(labels);
    }

    // Writes Q_0 to Q_steps-1 to `marginals`, `size` floats each, and S_steps to `scores`.
    void infer(ThreadPool& pool, const PointValues<const float>& logits, std::int64_t steps, float* marginals,
               const PointValues<float>& scores) const {
        Buffer<float> base = rows();
        read_rows(pool, logits, tiles_.points(), width_, -std::numeric_limits<float>::infinity(),
                  base.data());
        State state(pool, terms_, width_, chunk(), false);
        for (std::int64_t step = 0; step <= steps; ++step) {
            float* next = marginals + step * size(tiles_.points(), labels_);
            const bool first = step == 0, last = step == steps;
            if (!first) state.filter(pool, next - size(tiles_.points(), labels_), true);
            const auto body = [&](std::int64_t begin, std::int64_t end, Workspace& workspace,
                                  const auto& message) {
                float* sums = workspace.sums.data();
                std::copy_n(base.data() + begin * width_, (end - begin) * width_, sums);
                for (std::size_t k = 0; !first && k < terms_.size(); ++k)
                    mix(end - begin, terms_[k].post_scale.data() + begin, terms_[k], gains_[k], message(k),
                        sums);
                if (last)
                    write_rows(sums, width_, begin, end, scores);
                else
                    loops_.softmax(end - begin, sums, next + begin * width_, width_, workspace.largest.data(),
                                   nullptr);
            };
            state.for_points(pool, tiles_, chunk(), !first, body,
                             [&](std::int64_t tile, Workspace& workspace) {
                                 for (std::size_t k = 0; !last && k < terms_.size(); ++k)
                                     state.filters[k].splat_new(tile, next, workspace.scratch[k].data());
                             });
        }
    }

    // Writes the gradients with respect to the logits and each term's gains, given that of S_steps.
    void gradient(ThreadPool& pool, const float* marginals, std::int64_t steps,
                  const PointValues<const float>& grad_scores, const PointValues<float>& grad_logits,
                  const std::vector<float*>& grad_gains) const {
        std::vector<Term> transposed;
        std::vector<std::vector<float>> gains;
        for (const Term& term : terms_) {
            transposed.push_back({term.filter, term.post_scale, {}, {}, {}, {}, false});
            gains.push_back(padded(term, true));
        }
        State state(pool, transposed, width_, chunk(), true);
        Buffer<float> grad = rows(), next = rows(), total = rows();
        read_rows(pool, grad_scores, tiles_.points(), width_, 0.0f, grad.data());
        pool.for_ranges(tiles_.points(), 1 << 12, [&](std::int64_t begin, std::int64_t end) {
            std::copy_n(grad.data() + begin * width_, (end - begin) * width_, total.data() + begin * width_);
        });
        // Tile by tile, so that the order of the sums does not depend on threads.
        std::vector<std::vector<float>> sums;
        for (const std::vector<float>& gain : gains)
            sums.emplace_back(static_cast<std::size_t>(tiles_.count()) * gain.size(), 0.0f);
        const std::vector<float> ones(static_cast<std::size_t>(chunk()), 1.0f);
        for (std::int64_t step = steps; step-- > 0;) {
            const float* q = marginals + step * size(tiles_.points(), labels_);
            state.filter(pool, grad.data(), false);
            const auto body = [&](std::int64_t begin, std::int64_t end, Workspace& workspace,
                                  const auto& message) {
                float* grad_q = workspace.sums.data();
                std::fill_n(grad_q, (end - begin) * width_, 0.0f);
                for (std::size_t k = 0; k < terms_.size(); ++k) {
                    const float* h = message(k);
                    if (!terms_[k].pre_scale.empty()) {
                        loops_.scale(end - begin, terms_[k].pre_scale.data() + begin, h,
                                     workspace.message.data(), width_);
                        h = workspace.message.data();
                    }
                    mix(end - begin, ones.data(), terms_[k], gains[k], h, grad_q);
                    float* own = sums[k].data() + static_cast<std::size_t>(workspace.tile) * gains[k].size();
                    if (mixes(terms_[k]))
                        loops_.add_outer_products(end - begin, q + begin * width_, h, labels_, own, width_);
                    else
                        loops_.add_products(end - begin, q + begin * width_, h, own, width_);
                }
                loops_.softmax_gradient(end - begin, q + begin * width_, grad_q, next.data() + begin * width_,
                                        total.data() + begin * width_, width_);
            };
            state.for_points(pool, tiles_, chunk(), true, body, [](std::int64_t, Workspace&) {});
            std::swap(grad, next);
        }
        write_rows(total.data(), width_, 0, tiles_.points(), grad_logits);
        for (std::size_t k = 0; k < terms_.size(); ++k) write_gain(sums[k], gains[k].size(), grad_gains[k]);
    }

  private:
    // Buffers of one worker.
    struct Workspace {
        std::int64_t tile = 0;
        std::vector<Buffer<float>> scratch;  // of each filter
        Buffer<float> message, sums;         // of a chunk
        std::vector<float> largest;
    };

    // Filters of all terms, and the workers' buffers.
    struct State {
        State(ThreadPool& pool, const std::vector<Term>& terms, std::int64_t width, std::int64_t chunk,
              bool transposed) {
            for (const Term& term : terms) filters.emplace_back(term, width, transposed);
            workspaces.resize(static_cast<std::size_t>(pool.size()));
            for (Workspace& workspace : workspaces) {
                for (const TermFilter& filter : filters)
                    workspace.scratch.emplace_back(filter.filtering().scratch());
                workspace.message = Buffer<float>(static_cast<std::size_t>(chunk * width));
                workspace.sums = Buffer<float>(static_cast<std::size_t>(chunk * width));
                workspace.largest.resize(static_cast<std::size_t>(width));
            }
        }

        void filter(ThreadPool& pool, const float* q, bool already_splatted) {
            for (std::size_t k = 0; k < filters.size(); ++k)
                filters[k].filter(pool, q, already_splatted, [&](int worker) {
                    return workspaces[static_cast<std::size_t>(worker)].scratch[k].data();
                });
        }

        // Calls body(begin, end, workspace, message) for all points, where message(k) returns filter k's
        // result if `filtered`; and close(tile, workspace) after each tile.
        template <class Body, class Close>
        void for_points(ThreadPool& pool, const Tiles& tiles, std::int64_t chunk, bool filtered,
                        const Body& body, const Close& close) {
            const auto workspace_of = [&](int worker) -> Workspace& {
                return workspaces[static_cast<std::size_t>(worker)];
            };
            const auto open = [&](std::int64_t tile, int worker) {
                workspace_of(worker).tile = tile;
                for (std::size_t k = 0; filtered && k < filters.size(); ++k)
                    filters[k].filtering().begin_tile(tile, workspace_of(worker).scratch[k].data());
                return true;
            };
            for_chunks(
                pool, tiles, chunk, open,
                [&](std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end, int worker) {
                    Workspace& workspace = workspace_of(worker);
                    body(begin, end, workspace, [&](std::size_t k) {
                        return filters[k].filtering().slice(
                            tile, place, begin, end, workspace.scratch[k].data(), workspace.message.data());
                    });
                },
                [&](std::int64_t tile, int worker) { close(tile, workspace_of(worker)); });
        }

        std::vector<TermFilter> filters;
        std::vector<Workspace> workspaces;
    };

    std::int64_t chunk() const { return chunk_of_pixels(width_); }
    Buffer<float> rows() const {
        return Buffer<float>(static_cast<std::size_t>(size(tiles_.points(), labels_)));
    }
    bool mixes(const Term& term) const {
        return labels_ > 1 && term.gains.size() == static_cast<std::size_t>(labels_ * labels_);
    }

    // Returns a term's gains, or their transpose, as rows of `width` floats.
    std::vector<float> padded(const Term& term, bool transposed) const {
        const bool matrix = mixes(term);
        const std::int64_t count = matrix ? labels_ : 1;
        std::vector<float> rows(static_cast<std::size_t>(count * width_), 0.0f);
        for (std::int64_t from = 0; from < count; ++from)
            for (std::int64_t to = 0; to < labels_; ++to)
                rows[static_cast<std::size_t>(from * width_ + to)] = term.gains[static_cast<std::size_t>(
                    transposed && matrix ? to * labels_ + from : from * labels_ + to)];
        return rows;
    }

    // sums += factors * message * gains
    void mix(std::int64_t count, const float* factors, const Term& term, const std::vector<float>& gains,
             const float* message, float* sums) const {
        if (mixes(term))
            loops_.add_product(count, factors, gains.data(), message, labels_, sums, sums, width_);
        else
            loops_.add(count, factors, gains.data(), message, sums, sums, width_);
    }

    // Writes the sum over tiles, without padding.
    void write_gain(const std::vector<float>& sums, std::size_t size, float* out) const {
        const auto width = static_cast<std::size_t>(width_), labels = static_cast<std::size_t>(labels_);
        for (std::size_t row = 0; row < size / width; ++row)
            for (std::size_t c = 0; c < labels; ++c) {
                double total = 0.0;
                for (std::size_t tile = 0; tile < sums.size(); tile += size)
                    total += sums[tile + row * width + c];
                out[row * labels + c] = static_cast<float>(total);
            }
    }

    const std::vector<Term>& terms_;
    Tiles tiles_;
    std::int64_t labels_, width_;
    std::vector<std::vector<float>> gains_;
    const Kernels& loops_ = kernels();
};

}  // namespace atrous
