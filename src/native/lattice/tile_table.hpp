// Hash table from keys of lattice vertices to the rows of one tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace atrous {

// Open addressing with linear probing, small enough for the first-level cache. Rows count up in the order of
// insertion; there are at most 65,535.
class TileTable {
  public:
    // Removes all keys and returns them.
    std::vector<std::uint64_t> take() {
        std::fill(slots_.begin(), slots_.end(), std::uint16_t{0});
        std::vector<std::uint64_t> keys(keys_);
        keys_.clear();
        return keys;
    }

    std::uint16_t insert(std::uint64_t key) {
        for (std::size_t s = slot_of(key);; s = (s + 1) & mask()) {
            const std::uint16_t row = slots_[s];
            if (row == 0) return add(key, s);
            if (keys_[row - std::size_t{1}] == key) return static_cast<std::uint16_t>(row - 1);
        }
    }

  private:
    std::size_t mask() const { return slots_.size() - 1; }

    std::size_t slot_of(std::uint64_t key) const {
        key ^= key >> 32;
        return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> shift_);
    }

    std::uint16_t add(std::uint64_t key, std::size_t slot) {
        keys_.push_back(key);
        const auto row = static_cast<std::uint16_t>(keys_.size());
        slots_[slot] = row;
        if (keys_.size() * 4 > slots_.size()) grow();
        return static_cast<std::uint16_t>(row - 1);
    }

    void grow() {
        slots_.assign(slots_.size() * 2, 0);
        --shift_;
        for (std::size_t row = 1; row <= keys_.size(); ++row) {
            std::size_t s = slot_of(keys_[row - 1]);
            while (slots_[s] != 0) s = (s + 1) & mask();
            slots_[s] = static_cast<std::uint16_t>(row);
        }
    }

    static constexpr int kBits = 13;
    std::vector<std::uint16_t> slots_ = std::vector<std::uint16_t>(std::size_t{1} << kBits);
    int shift_ = 64 - kBits;
    std::vector<std::uint64_t> keys_;
};

}  // namespace atrous
