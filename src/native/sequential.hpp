// Mean field whose every rounding is that of the reference implementation: Kraehenbuehl's densecrf for SSE2,
// as pydensecrf packs it. Where a CRF magnifies last digits, no other agrees with it.
//
// float32 without fused products; a vertex sums its points in their order, one after the other. The vertices
// share the work, so any number of threads gives the same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "features.hpp"
#include "filter.hpp"
#include "inner_loops.hpp"
#include "sequential_loops.hpp"
#include "vertex_names.hpp"
#include "vertex_table.hpp"

namespace atrous {

const SequentialLoops& sequential_loops();

class SequentialLattice {
  public:
    // Throws std::overflow_error for features that it has no room for.
    SequentialLattice(Team& team, const Features& features)
        : corners_(features.dimensions() + 1), points_(features.tiles().points()) {
        const int d = features.dimensions();
        scale_ = 1.0f / (1.0f + std::ldexp(1.0f, -d));
        float low[kMaxDimensions], high[kMaxDimensions];
        features.range(team, low, high);
        for (int i = 0; i < d; ++i) {  // the origin too: see build()
            low[i] = std::min(low[i], 0.0f);
            high[i] = std::max(high[i], 0.0f);
        }
        geometry_ = lattice_geometry(d, low, high, 1);
        build(team, features);
    }

    std::int64_t points() const { return points_; }

    // Buffers of one filtering after the other.
    class Run {
      public:
        Run(const SequentialLattice& lattice, std::int64_t labels, std::int64_t width)
            : lattice_(lattice), labels_(labels), width_(width) {
            for (Buffer<float>* values : {&values_, &other_}) {
                *values =
                    Buffer<float>((std::size_t{lattice.vertices_} + 1) * static_cast<std::size_t>(width));
                std::fill_n(values->data(), width, 0.0f);
            }
        }

        void spread(Team& team, const float* factors, const float* rows) {
            const std::int64_t vertices = lattice_.vertices_, grain = 2 * chunk_of_pixels(width_);
            team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                sequential_loops().gather(begin + 1, end + 1, lattice_.vertex_start_.data(),
                                          lattice_.vertex_point_.data(), lattice_.vertex_weight_.data(),
                                          factors, rows, values_.data(), width_);
            });
            for (int axis = 0; axis < lattice_.corners_; ++axis) {
                const std::uint32_t* links = lattice_.neighbors_.data() + 2 * axis * (vertices + 1);
                team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                    inner_loops().whole.blur(begin + 1, end + 1, links, values_.data(), other_.data(),
                                             width_);
                });
                std::swap(values_, other_);
            }
        }

        void read(std::int64_t begin, std::int64_t end, float* out) const {
            const std::int64_t at = begin * lattice_.corners_;
            sequential_loops().slice(end - begin, lattice_.corners_, lattice_.corner_vertex_.data() + at,
                                     lattice_.corner_weight_.data() + at, lattice_.scale_, values_.data(),
                                     out, labels_, width_);
        }

      private:
        const SequentialLattice& lattice_;
        std::int64_t labels_, width_;
        Buffer<float> values_, other_;
    };

  private:
    struct Band {
        std::vector<std::uint64_t> names;
        std::vector<std::uint32_t> counts, vertex, place;
    };

    void build(Team& team, const Features& features) {
        constexpr std::int64_t kBand = 1 << 14;
        const auto corners = static_cast<std::int64_t>(corners_);
        const auto entries = static_cast<std::size_t>(points_ * corners);
        if (entries >= VertexTable::kAbsent) throw std::overflow_error("too many points for one lattice");
        corner_vertex_ = Buffer<std::uint32_t>(entries);
        corner_weight_ = Buffer<float>(entries);
        std::vector<Band> bands(static_cast<std::size_t>((points_ + kBand - 1) / kBand));
        team.for_ranges(points_, kBand, [&](std::int64_t begin, std::int64_t end) {
            Band& band = bands[static_cast<std::size_t>(begin / kBand)];
            VertexTable table(static_cast<std::size_t>(end - begin));
            FeatureBlock block;
            std::uint64_t keys[(kMaxDimensions + 1) * kSimplexBlock];
            for (std::int64_t b = begin; b < end; b += kSimplexBlock) {
                const int count = static_cast<int>(std::min<std::int64_t>(kSimplexBlock, end - b));
                features.read(b, count, block);
                inner_loops().simplex(geometry_, block, count, keys, corner_weight_.data() + b * corners);
                for (std::int64_t p = 0; p < count; ++p)
                    for (std::int64_t k = 0; k < corners; ++k) {
                        const std::uint64_t key = keys[k * kSimplexBlock + p];
                        const std::uint32_t vertex = table.insert(key);
                        if (vertex == band.names.size()) {
                            band.names.push_back(key);
                            band.counts.push_back(0);
                        }
                        ++band.counts[vertex];
                        corner_vertex_[static_cast<std::size_t>((b + p) * corners + k)] = vertex;
                    }
            }
        });
        // The reference goes through the points four by four and fills up the last four with the origin: no
        // value comes from there, but the vertices around it take part in the blur.
        if (points_ % 4 != 0) {
            FeatureBlock origin{};
            std::uint64_t keys[(kMaxDimensions + 1) * kSimplexBlock];
            float weights[kMaxDimensions + 1];
            inner_loops().simplex(geometry_, origin, 1, keys, weights);
            Band& band = bands.emplace_back();
            for (std::int64_t k = 0; k < corners; ++k) band.names.push_back(keys[k * kSimplexBlock]);
            band.counts.assign(band.names.size(), 0);
        }

        std::size_t touched = 0;
        for (const Band& band : bands) touched += band.names.size();
        VertexTable table(touched / 2);
        std::vector<std::uint32_t> totals(1);
        for (Band& band : bands) {
            band.vertex.resize(band.names.size());
            band.place.resize(band.names.size());
            for (std::size_t n = 0; n < band.names.size(); ++n) {
                const std::uint32_t vertex = table.insert(band.names[n]) + 1;
                if (vertex == totals.size()) totals.push_back(0);
                band.vertex[n] = vertex;
                band.place[n] = totals[vertex];
                totals[vertex] += band.counts[n];
            }
        }
        vertices_ = static_cast<std::uint32_t>(table.keys().size());
        vertex_start_ = Buffer<std::uint32_t>(std::size_t{vertices_} + 2);
        vertex_start_[0] = vertex_start_[1] = 0;
        for (std::size_t v = 1; v <= vertices_; ++v) vertex_start_[v + 1] = vertex_start_[v] + totals[v];
        vertex_point_ = Buffer<std::uint32_t>(entries);
        vertex_weight_ = Buffer<float>(entries);
        team.for_ranges(points_, kBand, [&](std::int64_t begin, std::int64_t end) {
            Band& band = bands[static_cast<std::size_t>(begin / kBand)];
            for (std::size_t n = 0; n < band.names.size(); ++n)
                band.place[n] += vertex_start_[band.vertex[n]];
            for (std::int64_t p = begin; p < end; ++p)
                for (std::int64_t k = 0; k < corners; ++k) {
                    const auto entry = static_cast<std::size_t>(p * corners + k);
                    const std::uint32_t local = corner_vertex_[entry];
                    corner_vertex_[entry] = band.vertex[local];
                    const std::uint32_t place = band.place[local]++;
                    vertex_point_[place] = static_cast<std::uint32_t>(p);
                    vertex_weight_[place] = corner_weight_[entry];
                }
        });
        link(team, table);
    }

    void link(Team& team, const VertexTable& table) {
        const std::vector<std::uint64_t>& names = table.keys();
        const std::size_t axis_size = 2 * (std::size_t{vertices_} + 1);
        neighbors_ = Buffer<std::uint32_t>(static_cast<std::size_t>(corners_) * axis_size);
        neighbors_.zero();
        team.for_ranges(vertices_, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t v = begin + 1; v <= end; ++v)
                for (int axis = 0; axis < corners_; ++axis) {
                    if (v + 2 <= end)
                        table.prefetch(ahead(geometry_, names[static_cast<std::size_t>(v + 1)], axis));
                    const std::uint32_t found =
                        table.find(ahead(geometry_, names[static_cast<std::size_t>(v - 1)], axis));
                    if (found == VertexTable::kAbsent) continue;
                    std::uint32_t* links = neighbors_.data() + static_cast<std::size_t>(axis) * axis_size;
                    links[2 * v] = found + 1;
                    links[2 * (std::size_t{found} + 1) + 1] = static_cast<std::uint32_t>(v);
                }
        });
    }

    LatticeGeometry geometry_{};
    int corners_;
    std::int64_t points_;
    std::uint32_t vertices_ = 0;
    float scale_ = 1.0f;
    Buffer<std::uint32_t> corner_vertex_;  // [point][corner]
    Buffer<float> corner_weight_;
    Buffer<std::uint32_t> vertex_start_;  // of each vertex' list of points, in their order
    Buffer<std::uint32_t> vertex_point_;
    Buffer<float> vertex_weight_;
    Buffer<std::uint32_t> neighbors_;  // [axis][vertex][2]
};

// One kernel: scores += gains . (after * K (before * Q)).
struct SequentialTerm {
    std::shared_ptr<const SequentialLattice> lattice;
    std::vector<float> before, after;  // of each point; empty: ones
    std::vector<float> gains;          // one for each label, or a matrix [from][to]
};

class SequentialField {
  public:
    SequentialField(const std::vector<SequentialTerm>& terms, std::int64_t labels, std::int64_t points)
        : terms_(terms), labels_(labels), points_(points), width_(padded_width(labels)) {
        for (const SequentialTerm& term : terms) {
            runs_.emplace_back(*term.lattice, labels, width_);
            std::vector<float>& gains = gains_.emplace_back();
            for (std::size_t g = 0; g < term.gains.size(); g += static_cast<std::size_t>(labels)) {
                gains.insert(gains.end(), term.gains.begin() + static_cast<std::ptrdiff_t>(g),
                             term.gains.begin() + static_cast<std::ptrdiff_t>(g) + labels);
                gains.resize(gains.size() + static_cast<std::size_t>(width_ - labels));
            }
        }
    }

    // planes: [label][point]
    void infer(Team& team, const float* energies, int iterations, float* probabilities) {
        read(team, energies, -1.0f, scores_, -std::numeric_limits<float>::infinity());
        q_ = Buffer<float>(scores_.size());
        for (int step = 0; step <= iterations; ++step) {
            if (step > 0) spread(team);
            each_chunk(team, [&](std::int64_t begin, std::int64_t end, float* scores, float* message) {
                std::copy_n(scores_.data() + begin * width_, (end - begin) * width_, scores);
                if (step > 0) add_messages(begin, end, scores, message);
                sequential_loops().softmax(end - begin, scores, q_.data() + begin * width_, labels_, width_);
            });
        }
        write(team, q_, probabilities);
    }

    // What each point's scores gain for these marginals.
    void messages(Team& team, const float* marginals, float* out) {
        read(team, marginals, 1.0f, q_, 0.0f);
        scores_ = Buffer<float>(q_.size());
        spread(team);
        each_chunk(team, [&](std::int64_t begin, std::int64_t end, float*, float* message) {
            float* scores = scores_.data() + begin * width_;
            std::fill_n(scores, (end - begin) * width_, 0.0f);
            add_messages(begin, end, scores, message);
        });
        write(team, scores_, out);
    }

  private:
    std::int64_t chunk() const { return chunk_of_pixels(width_); }

    template <class Body>
    void each_chunk(Team& team, const Body& body) {
        const std::int64_t grain = 16 * chunk();
        const auto size = static_cast<std::size_t>(chunk() * width_);
        std::vector<Buffer<float>> workspaces(2 * static_cast<std::size_t>(team.size()));
        for (Buffer<float>& workspace : workspaces) workspace = Buffer<float>(size);
        team.for_ranges(points_, grain, [&](std::int64_t first, std::int64_t last, int worker) {
            for (std::int64_t begin = first; begin < last; begin += chunk())
                body(begin, std::min(last, begin + chunk()),
                     workspaces[2 * static_cast<std::size_t>(worker)].data(),
                     workspaces[2 * static_cast<std::size_t>(worker) + 1].data());
        });
    }

    void read(Team& team, const float* planes, float sign, Buffer<float>& rows, float padding) const {
        rows = Buffer<float>(static_cast<std::size_t>(points_ * width_));
        team.for_ranges(points_, 1 << 10, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t c = 0; c < width_; ++c)
                for (std::int64_t p = begin; p < end; ++p)
                    rows[static_cast<std::size_t>(p * width_ + c)] =
                        c < labels_ ? sign * planes[c * points_ + p] : padding;
        });
    }

    void write(Team& team, const Buffer<float>& rows, float* planes) const {
        team.for_ranges(points_, 1 << 10, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t c = 0; c < labels_; ++c)
                for (std::int64_t p = begin; p < end; ++p)
                    planes[c * points_ + p] = rows[static_cast<std::size_t>(p * width_ + c)];
        });
    }

    void spread(Team& team) {
        for (std::size_t t = 0; t < terms_.size(); ++t)
            runs_[t].spread(team, terms_[t].before.empty() ? nullptr : terms_[t].before.data(), q_.data());
    }

    void add_messages(std::int64_t begin, std::int64_t end, float* scores, float* message) const {
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            const float* after = terms_[t].after.empty() ? nullptr : terms_[t].after.data() + begin;
            runs_[t].read(begin, end, message);
            if (labels_ > 1 && gains_[t].size() > static_cast<std::size_t>(width_))
                sequential_loops().add_product(
                    end - begin, after, gains_[t].data(), message, labels_,
                    std::clamp<std::int64_t>(points_ / 4 * 4 - begin, 0, end - begin), scores, width_);
            else
                sequential_loops().add(end - begin, after, gains_[t].data(), message, scores, width_);
        }
    }

    const std::vector<SequentialTerm>& terms_;
    std::int64_t labels_, points_, width_;
    std::vector<SequentialLattice::Run> runs_;
    std::vector<std::vector<float>> gains_;  // padded to the width
    Buffer<float> scores_, q_;
};

}  // namespace atrous
