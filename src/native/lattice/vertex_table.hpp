// Hash table from keys of lattice vertices to their numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"

namespace atrous {

// Open addressing with linear probing; grows by doubling. Numbers count up in the order of insertion.
//
// A slot is 32 bits, so that many fit the cache: the number, counting from 1, in as many bits as the table's
// size needs, and above it further bits of the key's hash. The keys themselves lie in the order of the
// numbers, near those that were inserted at about the same time.
class VertexTable {
  public:
    static constexpr std::uint32_t kAbsent = UINT32_MAX;

    explicit VertexTable(std::size_t expected) {
        int bits = 6;
        while ((std::size_t{1} << bits) < expected * 2) ++bits;
        reset(bits);
        keys_.reserve(expected);
    }

    // Keys in the order of their numbers.
    const std::vector<std::uint64_t>& keys() const { return keys_; }

    // Prefetches the slot of a key that will be looked up soon; cache misses dominate the lookups.
    void prefetch([[maybe_unused]] std::uint64_t key) const {
#if defined(__GNUC__) || defined(__clang__)
        __builtin_prefetch(slots_.data() + slot_of(hash_of(key)));
#endif
    }

    std::uint32_t find(std::uint64_t key) const {
        const std::uint64_t hash = hash_of(key);
        for (std::size_t s = slot_of(hash);; s = (s + 1) & mask_) {
            if (slots_[s] == 0) return kAbsent;
            if (holds(s, hash, key)) return number_in(s);
        }
    }

    // As find, but numbers count from 1, and 0 means absent. Without an unpredictable branch if one of the
    // first two slots decides. The table must not be empty.
    std::uint32_t find_from_1(std::uint64_t key) const {
        const std::uint64_t hash = hash_of(key);
        const std::size_t slot = slot_of(hash);
        const std::uint32_t first = slots_[slot], second = slots_[(slot + 1) & mask_];
        const std::uint32_t alike = mark_of(hash);
        const std::uint32_t in_first = 0 - std::uint32_t{((first ^ alike) & ~number_mask_) == 0},
                            in_second = 0 - std::uint32_t{((second ^ alike) & ~number_mask_) == 0};
        const std::uint32_t found = ((first & in_first) | (second & in_second & ~in_first)) & number_mask_;
        const std::uint32_t any = found != 0, right = keys_[found - any] == key,
                            end = (first == 0) | (second == 0);
        if (((any & right) | (~any & end)) != 0) return found;
        return find(key) + 1;  // kAbsent + 1 is 0
    }

    std::uint32_t insert(std::uint64_t key) {
        const std::uint64_t hash = hash_of(key);
        for (std::size_t s = slot_of(hash);; s = (s + 1) & mask_) {
            if (slots_[s] == 0) {
                keys_.push_back(key);
                slots_[s] = mark_of(hash) | static_cast<std::uint32_t>(keys_.size());
                if (keys_.size() * 2 > mask_) grow();
                return static_cast<std::uint32_t>(keys_.size() - 1);
            }
            if (holds(s, hash, key)) return number_in(s);
        }
    }

  private:
    static std::uint64_t hash_of(std::uint64_t key) { return (key ^ (key >> 32)) * 0x9E3779B97F4A7C15u; }
    std::size_t slot_of(std::uint64_t hash) const { return static_cast<std::size_t>(hash >> shift_); }
    // Bits of the hash that a slot stores above the number; others than those that select the slot.
    std::uint32_t mark_of(std::uint64_t hash) const {
        return static_cast<std::uint32_t>(hash >> (shift_ - 32)) & ~number_mask_;
    }

    bool holds(std::size_t slot, std::uint64_t hash, std::uint64_t key) const {
        return ((slots_[slot] ^ mark_of(hash)) & ~number_mask_) == 0 && keys_[number_in(slot)] == key;
    }
    std::uint32_t number_in(std::size_t slot) const { return (slots_[slot] & number_mask_) - 1; }

    void reset(int bits) {
        if (bits > 32) throw std::overflow_error("features too scattered for one lattice");
        slots_ = Buffer<std::uint32_t>();
        slots_ = Buffer<std::uint32_t>(std::size_t{1} << bits);
        slots_.zero();
        mask_ = slots_.size() - 1;
        number_mask_ = static_cast<std::uint32_t>(mask_);
        shift_ = 64 - bits;
    }

    void grow() {
        reset(65 - shift_);
        for (std::size_t number = 0; number < keys_.size(); ++number) {
            const std::uint64_t hash = hash_of(keys_[number]);
            std::size_t s = slot_of(hash);
            while (slots_[s] != 0) s = (s + 1) & mask_;
            slots_[s] = mark_of(hash) | static_cast<std::uint32_t>(number + 1);
        }
    }

    Buffer<std::uint32_t> slots_;  // 0: empty
    std::size_t mask_ = 0;
    std::uint32_t number_mask_ = 0;
    int shift_ = 0;
    std::vector<std::uint64_t> keys_;
};

}  // namespace atrous
