// Order of a lattice's vertices in a blur along an axis.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"

namespace atrous {

// Chains of neighboring vertices along an axis, each followed by a 0. Vertices without neighbors are in no
// chain, since a blur does not change them.
class BlurOrder {
  public:
    BlurOrder() = default;
    // ahead: of each vertex, counting from 1, the next one, 0 for none; after none comes none.
    explicit BlurOrder(const Buffer<std::uint32_t>& ahead) {
        const std::size_t vertices = ahead.size() - 1;
        Buffer<std::uint32_t> order(vertices + vertices / 2 + kStride +
                                    1);  // a chain has at least two vertices
        std::size_t size = 0;
        parts_.push_back(0);
        Buffer<std::uint8_t> has_behind(vertices + 1);
        has_behind.zero();
        for (std::size_t v = 1; v <= vertices; ++v) has_behind[ahead[v]] = 1;
        Buffer<std::uint32_t> starts(vertices + 1);
        std::size_t chains = 0;
        for (std::size_t v = 1; v <= vertices; ++v) {
            starts[chains] = static_cast<std::uint32_t>(v);
            chains += static_cast<std::size_t>(ahead[v] != 0) & (std::size_t{1} - has_behind[v]);
        }
        for (std::size_t c = 0; c < chains; ++c) {
            // Several steps at once, because the end of a chain is unpredictable; 0 follows 0.
            for (std::uint32_t next = starts[c]; next != 0;)
                for (int k = 0; k < kStride; ++k, next = ahead[next]) {
                    order[size] = next;
                    size += next != 0 ? 1 : 0;
                }
            order[size++] = 0;
            if (size - parts_.back() >= kPart) parts_.push_back(size);
        }
        if (parts_.back() != size) parts_.push_back(size);
        order_ = Buffer<std::uint32_t>(size);
        std::copy_n(order.data(), size, order_.data());
    }

    const std::uint32_t* order() const { return order_.data(); }
    // Ranges of whole chains, one for each task of a thread.
    std::int64_t parts() const { return static_cast<std::int64_t>(parts_.size()) - 1; }
    std::int64_t begin(std::int64_t part) const {
        return static_cast<std::int64_t>(parts_[static_cast<std::size_t>(part)]);
    }

  private:
    static constexpr int kStride = 5;
    static constexpr std::size_t kPart = std::size_t{1} << 12;

    Buffer<std::uint32_t> order_;
    std::vector<std::size_t> parts_;
};

}  // namespace atrous
