// Sums over the lattice's vertices around each, instead of a blur along each axis.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "lattice/vertex_keys.hpp"
#include "lattice/vertex_table.hpp"
#include "simd/kernels.hpp"
#include "thread_pool.hpp"

namespace atrous {

// What a vertex takes from the vertices around it, in one sum instead of d + 1 blurs: a blur loses what would
// pass through a vertex that no point touches, this sum does not.
struct Stencil {
    struct Pair {
        std::vector<std::int32_t> offset;  // d + 1 coordinates, which leave one remainder and sum to 0
        float weight;
    };
    float own = 0.0f;         // of the vertex itself
    std::vector<Pair> pairs;  // each stands for the offset and for its opposite

    // The largest number of cells between a vertex and those it takes from.
    std::int32_t reach() const {
        std::int32_t farthest = 1;
        for (const Pair& pair : pairs)
            for (const std::int32_t x : pair.offset)
                farthest =
                    std::max(farthest, std::abs(x) / static_cast<std::int32_t>(pair.offset.size()) + 1);
        return farthest;
    }
};

// One bit for each hash of a name: most vertices in reach do not exist, and the table does not fit the
// cache.
class KeyFilter {
  public:
    explicit KeyFilter(const std::vector<std::uint64_t>& names) {
        while ((std::size_t{1} << bits_) < names.size() * 16) ++bits_;
        words_.resize((std::size_t{1} << bits_) / 64, 0);
        for (const std::uint64_t name : names)
            words_[bit_of(name) / 64] |= std::uint64_t{1} << (bit_of(name) % 64);
    }
    bool may_hold(std::uint64_t name) const {
        const std::size_t bit = bit_of(name);
        return (words_[bit / 64] >> (bit % 64) & 1) != 0;
    }

  private:
    std::size_t bit_of(std::uint64_t name) const {
        return static_cast<std::size_t>(((name ^ (name >> 32)) * 0xD6E8FEB86659FD93u) >> (64 - bits_));
    }
    int bits_ = 10;
    std::vector<std::uint64_t> words_;
};

// The vertices that a stencil reaches from each vertex, counting from 1, with their weights.
class StencilLinks {
  public:
    StencilLinks() = default;

    StencilLinks(ThreadPool& pool, const Stencil& stencil, const LatticeGeometry& geometry,
                 const VertexTable& table) {
        const std::vector<std::uint64_t>& names = table.keys();
        const std::vector<Move> moves = moves_of(stencil, geometry);
        const KeyFilter present(names);
        const auto vertices = static_cast<std::int64_t>(names.size());
        const auto side = static_cast<std::uint64_t>(geometry.dimensions) + 1;
        std::vector<std::vector<Link>> parts(static_cast<std::size_t>((vertices + kGrain - 1) / kGrain));
        Buffer<std::uint32_t> ahead(names.size());  // how many links of a part belong to the vertex
        pool.for_ranges(vertices, kGrain, [&](std::int64_t begin, std::int64_t end) {
            std::vector<Link>& links = parts[static_cast<std::size_t>(begin / kGrain)];
            std::vector<std::uint64_t> outputs(moves.size());
            std::vector<float> weights(moves.size());
            for (auto v = static_cast<std::size_t>(begin); v < static_cast<std::size_t>(end); ++v) {
                const std::uint64_t name = names[v], remainder = name % kRemainders;
                std::size_t count = 0;
                for (const Move& move : moves) {
                    const std::uint64_t other =
                        name + (remainder + move.remainder < side ? move.plain : move.wrapped);
                    if (!present.may_hold(other)) continue;
                    table.prefetch(other);
                    outputs[count] = other;
                    weights[count++] = move.weight;
                }
                const std::size_t before = links.size();
                for (std::size_t k = 0; k < count; ++k) {
                    const std::uint32_t number = table.find(outputs[k]);
                    if (number != VertexTable::kAbsent) links.push_back({number + 1, weights[k]});
                }
                ahead[v] = static_cast<std::uint32_t>(links.size() - before);
            }
        });
        join(stencil.own, parts, ahead);
    }

    bool empty() const { return start_.size() == 0; }
    const std::uint32_t* start() const { return start_.data(); }
    const std::uint32_t* vertex() const { return vertex_.data(); }
    const float* weight() const { return weight_.data(); }

  private:
    struct Link {
        std::uint32_t vertex;
        float weight;
    };

    // An offset of the stencil, as what to add to the name of a vertex whose remainder wraps around or does
    // not.
    struct Move {
        std::uint64_t remainder, plain, wrapped;
        float weight;
    };

    static std::vector<Move> moves_of(const Stencil& stencil, const LatticeGeometry& geometry) {
        const std::int32_t side = geometry.dimensions + 1;
        std::vector<Move> moves;
        for (const Stencil::Pair& pair : stencil.pairs) {
            const std::int32_t remainder = (pair.offset[0] % side + side) % side;
            Move move{static_cast<std::uint64_t>(remainder), static_cast<std::uint64_t>(remainder), 0,
                      pair.weight};
            for (int i = 0; i < geometry.dimensions; ++i) {
                const std::int64_t cells = (pair.offset[static_cast<std::size_t>(i)] - remainder) / side;
                move.plain += static_cast<std::uint64_t>(cells) * geometry.stride[i];
            }
            move.wrapped = move.plain + geometry.wrap - 1;
            moves.push_back(move);
        }
        return moves;
    }

    // Lists for each vertex those that found it, in their order, itself, and those that it found.
    void join(float own_weight, std::vector<std::vector<Link>>& parts, const Buffer<std::uint32_t>& ahead) {
        const std::size_t vertices = ahead.size();
        start_ = Buffer<std::uint32_t>(vertices + 2);
        start_.zero();
        std::size_t entries = vertices;
        for (const std::vector<Link>& links : parts) {
            entries += 2 * links.size();
            if (entries >= VertexTable::kAbsent)
                throw std::overflow_error("too many neighbors for one lattice");
            for (const Link& link : links) ++start_[std::size_t{link.vertex} + 1];
        }
        for (std::size_t v = 1; v <= vertices; ++v) start_[v + 1] += start_[v] + 1 + ahead[v - 1];
        std::vector<std::uint32_t> place(start_.data(), start_.data() + vertices + 1);
        vertex_ = Buffer<std::uint32_t>(entries);
        weight_ = Buffer<float>(entries);
        std::size_t next = 0;  // of a part's links
        for (std::size_t v = 1; v <= vertices; ++v) {
            const std::vector<Link>& links = parts[(v - 1) / kGrain];
            if ((v - 1) % kGrain == 0) next = 0;
            std::uint32_t own = start_[v + 1] - ahead[v - 1];
            vertex_[own - 1] = static_cast<std::uint32_t>(v);
            weight_[own - 1] = own_weight;
            for (std::uint32_t k = 0; k < ahead[v - 1]; ++k, ++own) {
                const Link& link = links[next++];
                vertex_[own] = link.vertex;
                weight_[own] = link.weight;
                const std::uint32_t back = place[link.vertex]++;
                vertex_[back] = static_cast<std::uint32_t>(v);
                weight_[back] = link.weight;
            }
            if (v % kGrain == 0) parts[(v - 1) / kGrain] = std::vector<Link>();
        }
    }

    static constexpr std::int64_t kGrain = 1 << 11;

    Buffer<std::uint32_t> start_, vertex_;
    Buffer<float> weight_;
};

}  // namespace atrous
