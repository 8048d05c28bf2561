// Large uninitialized arrays for the lattice and the mean field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "block_cache.hpp"

namespace atrous {

// A fixed-size array that is not initialized: a std::vector would write every element once more.
// Big arrays ask Linux for huge pages, since the filters read rows in scattered order.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t count) : count_(count) {
        if (count > (SIZE_MAX / 2) / sizeof(T)) throw std::bad_alloc();
        const std::size_t bytes = count * sizeof(T);
        if (bytes == 0) return;
        if (bytes < BlockCache::kLeast) {
            data_ = static_cast<T*>(::operator new(bytes, std::align_val_t(64)));
            return;
        }
        const std::size_t block = BlockCache::rounded(bytes);
        data_ = static_cast<T*>(BlockCache::shared().take(block));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        madvise(data_, block, MADV_HUGEPAGE);
#endif
    }
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Buffer() {
        const std::size_t bytes = count_ * sizeof(T);
        if (bytes < BlockCache::kLeast)
            ::operator delete(data_, std::align_val_t(64));
        else
            BlockCache::shared().give(data_, BlockCache::rounded(bytes));
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t size() const { return count_; }
    void zero() {
        if (count_ != 0) std::memset(static_cast<void*>(data_), 0, count_ * sizeof(T));
    }

  private:
    void swap(Buffer& other) {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
    }

    T* data_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace atrous
