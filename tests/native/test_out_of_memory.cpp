// An executable of its own: it puts an operator new that fails, and counts, in place of the library's.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "gaussian/separable.hpp"
#include "lattice/lattice.hpp"
#include "mean_field/mean_field.hpp"
#include "memory_pool.hpp"
#include "random.hpp"

namespace {

constexpr std::int64_t kNever = std::int64_t{1} << 60;
std::atomic<std::int64_t> allocations_left{kNever};
std::atomic<std::int64_t> aligned_blocks{0};  // that are not freed

void* allocate(std::size_t size, std::size_t alignment) {
    if (--allocations_left < 0) throw std::bad_alloc();
#if defined(_WIN32)
    void* memory = _aligned_malloc(size, alignment);
#else
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
#endif
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

void release(void* memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

}  // namespace

void* operator new(std::size_t size) {
    return allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    void* memory = allocate(size, static_cast<std::size_t>(alignment));
    ++aligned_blocks;
    return memory;
}
void operator delete(void* memory) noexcept {
    release(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    release(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    aligned_blocks -= memory != nullptr;
    release(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
    operator delete(memory, alignment);
}

namespace {

using namespace atrous;

// Both filters, and an inference in which labels die.
void run(int threads, const std::vector<float>& features, const std::vector<float>& energies,
         std::vector<float>& q) {
    const auto points = static_cast<std::int64_t>(features.size() / 2);
    const auto labels = static_cast<std::int64_t>(energies.size()) / points;
    ThreadPool pool(threads);
    const std::vector<float> factors(static_cast<std::size_t>(points), 0.2f);
    const std::vector<Term> terms = {
        {std::make_shared<Lattice>(pool, ArrayFeatures(features.data(), 2, Tiles(points, points / 30))),
         factors,
         factors,
         {},
         {},
         1.0f},
        {std::make_shared<GridGaussian>(std::vector<std::int64_t>{2, 15, points / 30},
                                        std::vector<double>{1.0, 2.0, 3.0}, 1e-7),
         {},
         factors,
         {},
         {},
         1.0f}};
    Settings settings;
    settings.iterations = 3;
    settings.prune = 0.01f;
    settings.trace = true;
    MeanField field(terms, terms[0].filter->tiles(),
                    {energies.data(), labels, points, points, 1, true, -1e30f, 1e30f}, settings);
    field.infer(pool);
    field.probabilities(pool, q.data(), points, 1);
}

}  // namespace

TEST_CASE("many small blocks are kept up to a bound in all, those freed last") {
    MemoryPool cache;
    const std::int64_t before = aligned_blocks;
    const auto kept = [&] { return static_cast<std::size_t>(aligned_blocks - before); };
    const auto expected = [](std::size_t count) { return MemoryPool::kKeeps ? count : 0; };
    const auto give = [&](std::size_t count, std::size_t bytes) {
        std::vector<void*> blocks;
        for (std::size_t b = 0; b < count; ++b) blocks.push_back(cache.take(bytes));
        for (void* block : blocks) cache.give(block, bytes);
        return blocks.back();
    };
    const auto take_all = [&](std::size_t bytes) {
        for (std::size_t left = kept(); left > 0; --left)
            ::operator delete(cache.take(bytes), std::align_val_t(MemoryPool::kAlignment));
        CHECK(kept() == 0);
    };
    for (const std::size_t mebibytes : {1, 3, 8, 24, 64}) {
        const std::size_t bytes = mebibytes << 20;
        CAPTURE(mebibytes);
        CHECK(MemoryPool::rounded(bytes) == bytes);
        const std::size_t most = std::min(MemoryPool::kMost / bytes, MemoryPool::kMostBlocks);
        for (int round = 0; round < 3; ++round) {
            void* const last = give(most + 3, bytes);
            CHECK(kept() == expected(most));
            if (!MemoryPool::kKeeps) continue;
            void* const next = cache.take(bytes);
            CHECK(next == last);
            cache.give(next, bytes);
        }
        take_all(bytes);
    }
    // A large block drives as many small ones out as its room takes.
    give(8, std::size_t{8} << 20);
    give(1, std::size_t{48} << 20);
    CHECK(kept() == expected(3));
    give(1, MemoryPool::kMost);
    CHECK(kept() == expected(1));
    take_all(MemoryPool::kMost);
}

TEST_CASE("wherever memory runs out, bad_alloc comes out, nothing leaks, and the next run succeeds") {
    testing::Random random(1);
    const auto features = random.normals(2 * 600, 1.0);
    auto energies = random.normals(20 * 600, 0.5);
    for (std::size_t at = 6 * 600; at < energies.size(); ++at) energies[at] += 1.5f;
    for (const int threads : {1, 3}) {
        CAPTURE(threads);
        std::vector<float> truth(energies.size()), q(energies.size());
        run(threads, features, energies, truth);
        int failures = 0;
        bool done = false;
        for (std::int64_t last = 0; !done; last += 1 + last / 40) {  // all of the first, then ever fewer
            REQUIRE(last < 100000);
            bool failed = false;
            allocations_left = last;
            try {
                run(threads, features, energies, q);
                done = allocations_left >= 0;  // a pool does with fewer threads where memory is short
            } catch (const std::bad_alloc&) {
                failed = true;
            }
            allocations_left = kNever;
            failures += failed;
        }
        CHECK(failures > 30);
        CHECK(q == truth);
        std::fill(q.begin(), q.end(), 0.0f);
        run(threads, features, energies, q);
        CHECK(q == truth);
    }
}
