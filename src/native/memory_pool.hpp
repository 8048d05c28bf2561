// Pool that reuses buffers between calls.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <new>

// GCC tells of its address sanitizer by a macro, Clang by a feature.
#if defined(__SANITIZE_ADDRESS__)
#define ATROUS_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATROUS_ADDRESS_SANITIZER
#endif
#endif

namespace atrous {

// The system clears each page that it allocates, which takes time in every call. So the pool stores a few
// large blocks, the ones freed last, of at most 64 MiB together. Any thread may call. No thread waits for the
// lock, so a child of fork(), whose parent may have held it, does not hang: it allocates from the system.
class MemoryPool {
  public:
    static constexpr std::size_t kAlignment = std::size_t{1} << 21;  // a huge page of Linux
    static constexpr std::size_t kLeast = std::size_t{1} << 20, kMost = std::size_t{1} << 26;
    static constexpr std::size_t kMostBlocks = 32;
// Sanitizers must see each use of freed memory.
#if defined(ATROUS_ADDRESS_SANITIZER)
    static constexpr bool kKeeps = false;
#else
    static constexpr bool kKeeps = true;
#endif

    // Never destroyed: what it serves may outlive other static objects.
    static MemoryPool& shared() {
        static MemoryPool* const cache = new MemoryPool;
        return *cache;
    }

    // Returns the size rounded up by at most an eighth, so that images of similar size share blocks.
    static std::size_t rounded(std::size_t bytes) {
        std::size_t step = kLeast / 8;
        while (step * 16 <= bytes) step *= 2;
        return (bytes + step - 1) / step * step;
    }

    // bytes: rounded.
    void* take(std::size_t bytes) {
        if (void* block = find(bytes)) return block;
        try {
            return ::operator new(bytes, std::align_val_t(kAlignment));
        } catch (const std::bad_alloc&) {
            if (!clear()) throw;
            return ::operator new(bytes, std::align_val_t(kAlignment));
        }
    }

    void give(void* block, std::size_t bytes) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock || bytes > kMost || !kKeeps) return release(block);
        while (held_ + bytes > kMost || count_ == blocks_.size()) drop(0);
        blocks_[count_++] = {block, bytes};
        held_ += bytes;
    }

  private:
    struct Block {
        void* data;
        std::size_t bytes;
    };

    void* find(std::size_t bytes) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        for (std::size_t b = lock ? count_ : 0; b-- > 0;) {
            if (blocks_[b].bytes != bytes) continue;
            void* const data = blocks_[b].data;
            forget(b);
            return data;
        }
        return nullptr;
    }

    bool clear() {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock || count_ == 0) return false;
        while (count_ > 0) drop(count_ - 1);
        return true;
    }

    void drop(std::size_t b) {
        release(blocks_[b].data);
        forget(b);
    }

    void forget(std::size_t b) {
        held_ -= blocks_[b].bytes;
        for (--count_; b < count_; ++b) blocks_[b] = blocks_[b + 1];
    }

    static void release(void* block) { ::operator delete(block, std::align_val_t(kAlignment)); }

    std::mutex mutex_;
    std::array<Block, kMostBlocks> blocks_{};  // in the order in which they were freed
    std::size_t count_ = 0, held_ = 0;
};

}  // namespace atrous
