// Large uninitialized arrays for the lattice and the mean field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "memory_pool.hpp"

namespace atrous {

// Writes zeros, and on Linux frees whole pages of the memory, which must be private and not a file's.
inline void give_back(float* values, std::size_t count) {
    char* first = reinterpret_cast<char*>(values);
    char* const last = first + count * sizeof(float);
#if defined(__linux__)
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto whole = [&](char* at) { return reinterpret_cast<std::uintptr_t>(at) / page * page; };
    const std::uintptr_t begin = whole(first + page - 1), end = whole(last);
    if (begin < end && madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED) == 0) {
        std::memset(first, 0, begin - reinterpret_cast<std::uintptr_t>(first));
        first = reinterpret_cast<char*>(end);
    }
#endif
    std::memset(first, 0, static_cast<std::size_t>(last - first));
}

// Fixed-size array without initialization, which a std::vector would spend time on. Large arrays use huge
// pages on Linux, because the filters read rows in scattered order.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t count) : count_(count) {
        if (count > (SIZE_MAX / 2) / sizeof(T)) throw std::bad_alloc();
        const std::size_t bytes = count * sizeof(T);
        if (bytes == 0) return;
        if (bytes < MemoryPool::kLeast) {
            data_ = static_cast<T*>(::operator new(bytes, std::align_val_t(64)));
            return;
        }
        const std::size_t block = MemoryPool::rounded(bytes);
        data_ = static_cast<T*>(MemoryPool::shared().take(block));
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
        if (bytes < MemoryPool::kLeast)
            ::operator delete(data_, std::align_val_t(64));
        else
            MemoryPool::shared().give(data_, MemoryPool::rounded(bytes));
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
