// From packed keys of lattice vertices to their numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "buffer.hpp"

namespace atrous {

// Open addressing with linear probing; grows by doubling. Numbers count up in the order of insertion.
class VertexTable {
  public:
    static constexpr std::uint32_t kAbsent = UINT32_MAX;

    explicit VertexTable(std::size_t expected) {
        int bits = 6;
        while ((std::size_t{1} << bits) < expected * 2) ++bits;
        reset(bits);
    }

    // Asks for the memory where a key will be looked up soon: it is scattered, and waiting costs most.
    void prefetch([[maybe_unused]] std::uint64_t key) const {
#if defined(__GNUC__) || defined(__clang__)
        __builtin_prefetch(slots_.data() + slot_of(key));
#endif
    }

    std::uint32_t find(std::uint64_t key) const {
        for (std::size_t s = slot_of(key);; s = (s + 1) & mask_) {
            if (slots_[s].key == key) return slots_[s].number;
            if (slots_[s].key == kEmpty) return kAbsent;
        }
    }

    std::uint32_t insert(std::uint64_t key) {
        for (std::size_t s = slot_of(key);; s = (s + 1) & mask_) {
            if (slots_[s].key == key) return slots_[s].number;
            if (slots_[s].key == kEmpty) {
                slots_[s] = {key, size_};
                if (++size_ * std::size_t{2} > mask_) grow();
                return size_ - 1;
            }
        }
    }

  private:
    struct Slot {
        std::uint64_t key;
        std::uint32_t number;
    };
    static constexpr std::uint64_t kEmpty = UINT64_MAX;

    std::size_t slot_of(std::uint64_t key) const {
        key ^= key >> 32;
        return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> shift_);
    }

    void reset(int bits) {
        slots_ = Buffer<Slot>(std::size_t{1} << bits);
        mask_ = slots_.size() - 1;
        shift_ = 64 - bits;
        for (std::size_t s = 0; s <= mask_; ++s) slots_[s].key = kEmpty;
    }

    void grow() {
        Buffer<Slot> old = std::move(slots_);
        slots_ = Buffer<Slot>();
        reset(65 - shift_);
        for (std::size_t o = 0; o < old.size(); ++o) {
            if (old[o].key == kEmpty) continue;
            std::size_t s = slot_of(old[o].key);
            while (slots_[s].key != kEmpty) s = (s + 1) & mask_;
            slots_[s] = old[o];
        }
    }

    Buffer<Slot> slots_;
    std::size_t mask_ = 0;
    int shift_ = 0;
    std::uint32_t size_ = 0;
};

}  // namespace atrous
