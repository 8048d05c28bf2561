// Weighted sums over neighboring lattice vertices, instead of a blur along each axis.
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

// Weights of a vertex' neighbors. Replaces the d + 1 axis blurs, which lose mass at missing vertices.
struct Stencil {
    struct Pair {
        std::vector<std::int32_t> offset;  // d + 1 coordinates, congruent modulo d + 1, with sum 0
        float weight;
    };
    float own = 0.0f;         // weight of the vertex itself
    std::vector<Pair> pairs;  // each for an offset and its opposite

    // Upper bound of a neighbor's distance in cells.
    std::int32_t reach() const {
        std::int32_t farthest = 1;
        for (const Pair& pair : pairs)
            for (const std::int32_t x : pair.offset)
                farthest =
                    std::max(farthest, std::abs(x) / static_cast<std::int32_t>(pair.offset.size()) + 1);
        return farthest;
    }
};

// Bloom filter with one hash: rejects most missing neighbors without a lookup in the vertex table.
class KeyFilter {
  public:
    explicit KeyFilter(const std::vector<std::uint64_t>& keys) {
        while ((std::size_t{1} << bits_) < keys.size() * 16) ++bits_;
        words_.resize((std::size_t{1} << bits_) / 64, 0);
        for (const std::uint64_t key : keys)
            words_[bit_of(key) / 64] |= std::uint64_t{1} << (bit_of(key) % 64);
    }
    bool may_hold(std::uint64_t key) const {
        const std::size_t bit = bit_of(key);
        return (words_[bit / 64] >> (bit % 64) & 1) != 0;
    }

  private:
    std::size_t bit_of(std::uint64_t key) const {
        return static_cast<std::size_t>(((key ^ (key >> 32)) * 0xD6E8FEB86659FD93u) >> (64 - bits_));
    }
    int bits_ = 10;
    std::vector<std::uint64_t> words_;
};

// Neighbors of each vertex, counting from 1, with their weights (CSR format).
class StencilLinks {
  public:
    StencilLinks() = default;

    StencilLinks(ThreadPool& pool, const Stencil& stencil, const LatticeGeometry& geometry,
                 const VertexTable& table) {
        const std::vector<Move> moves = moves_of(stencil, geometry);
        const KeyFilter present(table.keys());
        const auto vertices = static_cast<std::int64_t>(table.keys().size());
        std::vector<std::vector<Link>> parts(static_cast<std::size_t>((vertices + kGrain - 1) / kGrain));
        Buffer<std::uint32_t> outgoing(table.keys().size());  // number of each vertex' outgoing links
        pool.for_ranges(vertices, kGrain, [&](std::int64_t begin, std::int64_t end) {
            parts[static_cast<std::size_t>(begin / kGrain)] =
                outgoing_links(moves, geometry, table, present, begin, end, outgoing);
        });
        const std::size_t entries = count_entries(parts, outgoing);
        build_csr(stencil.own, parts, outgoing, entries);
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

    // Differences to add to a packed key for an offset, without and with wrap-around of the remainder.
    struct Move {
        std::uint64_t remainder, plain, wrapped;
        float weight;
    };

    // Returns the links of the vertices [begin, end) to neighbors at the offsets (not their opposites),
    // vertex by vertex, and writes the number of each vertex' links to `outgoing`.
    static std::vector<Link> outgoing_links(const std::vector<Move>& moves, const LatticeGeometry& geometry,
                                            const VertexTable& table, const KeyFilter& present,
                                            std::int64_t begin, std::int64_t end,
                                            Buffer<std::uint32_t>& outgoing) {
        const auto side = static_cast<std::uint64_t>(geometry.dimensions) + 1;
        std::vector<Link> links;
        std::vector<std::uint64_t> candidates(moves.size());
        std::vector<float> weights(moves.size());
        for (auto v = static_cast<std::size_t>(begin); v < static_cast<std::size_t>(end); ++v) {
            // All candidates are prefetched before the first is looked up.
            const std::uint64_t key = table.keys()[v], remainder = key % kRemainders;
            std::size_t count = 0;
            for (const Move& move : moves) {
                const std::uint64_t other =
                    key + (remainder + move.remainder < side ? move.plain : move.wrapped);
                if (!present.may_hold(other)) continue;
                table.prefetch(other);
                candidates[count] = other;
                weights[count++] = move.weight;
            }
            const std::size_t before = links.size();
            for (std::size_t k = 0; k < count; ++k) {
                const std::uint32_t number = table.find(candidates[k]);
                if (number != VertexTable::kAbsent) links.push_back({number + 1, weights[k]});
            }
            outgoing[v] = static_cast<std::uint32_t>(links.size() - before);
        }
        return links;
    }

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

    // Writes the start of each vertex' entries: its incoming links, itself and its outgoing links. Returns
    // the number of all entries.
    std::size_t count_entries(const std::vector<std::vector<Link>>& parts,
                              const Buffer<std::uint32_t>& outgoing) {
        const std::size_t vertices = outgoing.size();
        start_ = Buffer<std::uint32_t>(vertices + 2);
        start_.zero();
        std::size_t entries = vertices;
        for (const std::vector<Link>& links : parts) {
            entries += 2 * links.size();
            if (entries >= VertexTable::kAbsent)
                throw std::overflow_error("too many neighbors for one lattice");
            for (const Link& link : links) ++start_[std::size_t{link.vertex} + 1];  // incoming
        }
        for (std::size_t v = 1; v <= vertices; ++v) start_[v + 1] += start_[v] + 1 + outgoing[v - 1];
        return entries;
    }

    // Writes for each vertex its incoming links, itself, then its outgoing links (CSR format). Frees each
    // part after its last link.
    void build_csr(float own_weight, std::vector<std::vector<Link>>& parts,
                   const Buffer<std::uint32_t>& outgoing, std::size_t entries) {
        const std::size_t vertices = outgoing.size();
        std::vector<std::uint32_t> next_incoming(start_.data(), start_.data() + vertices + 1);
        vertex_ = Buffer<std::uint32_t>(entries);
        weight_ = Buffer<float>(entries);
        std::size_t next = 0;  // index of the next link in its part
        for (std::size_t v = 1; v <= vertices; ++v) {
            const std::vector<Link>& links = parts[(v - 1) / kGrain];
            if ((v - 1) % kGrain == 0) next = 0;
            std::uint32_t at = start_[v + 1] - outgoing[v - 1];
            vertex_[at - 1] = static_cast<std::uint32_t>(v);
            weight_[at - 1] = own_weight;
            for (std::uint32_t k = 0; k < outgoing[v - 1]; ++k, ++at) {
                const Link& link = links[next++];
                vertex_[at] = link.vertex;
                weight_[at] = link.weight;
                const std::uint32_t back = next_incoming[link.vertex]++;
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
