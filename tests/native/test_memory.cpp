#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "lattice/tile_table.hpp"
#include "lattice/vertex_table.hpp"
#include "random.hpp"
#include "tile_order.hpp"

using atrous::Buffer;
using atrous::Tiles;
using atrous::TileTable;
using atrous::VertexTable;

TEST_CASE("buffers of nothing, of a little, of a huge page") {
    for (const std::size_t count :
         {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) {
        Buffer<float> buffer(count);
        CHECK(buffer.size() == count);
        CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
        buffer.zero();
        CHECK(std::all_of(buffer.data(), buffer.data() + count, [](float value) { return value == 0.0f; }));
        if (count != 0) buffer[count - 1] = 5.0f;
        Buffer<float> taker(std::move(buffer));
        CHECK(taker.size() == count);
        if (count != 0) CHECK(taker[count - 1] == 5.0f);
        buffer = Buffer<float>(3);
        std::swap(taker, buffer);
        CHECK(taker.size() == 3);
        CHECK(buffer.size() == count);
    }
}

TEST_CASE("memory is kept for the next call, up to a bound, and never given twice") {
    using atrous::MemoryPool;
    for (std::size_t bytes = MemoryPool::kLeast; bytes < 3 * MemoryPool::kMost; bytes += bytes / 5) {
        const std::size_t rounded = MemoryPool::rounded(bytes);
        CHECK(rounded >= bytes);
        CHECK(rounded <= bytes + bytes / 8);
        CHECK(MemoryPool::rounded(rounded) == rounded);
    }
    MemoryPool cache;
    const std::size_t bytes = MemoryPool::rounded(std::size_t{3} << 20);
    std::vector<void*> blocks;
    for (int i = 0; i < 40; ++i) blocks.push_back(cache.take(bytes));
    for (void* block : blocks) cache.give(block, bytes);
    std::vector<void*> again;
    for (int i = 0; i < 40; ++i) again.push_back(cache.take(bytes));
    std::sort(again.begin(), again.end());
    CHECK(std::adjacent_find(again.begin(), again.end()) == again.end());
    for (void* block : again) ::operator delete(block, std::align_val_t(MemoryPool::kAlignment));
    // What is larger than all that may be kept is not.
    cache.give(cache.take(2 * MemoryPool::kMost), 2 * MemoryPool::kMost);
}

TEST_CASE("memory that is given back holds zeros, and its neighbors are left alone") {
    for (const std::size_t begin : {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{5000}})
        for (const std::size_t count :
             {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{40000}}) {
            CAPTURE(begin);
            CAPTURE(count);
            std::vector<float> values(begin + count + 3000, 7.0f);
            atrous::give_back(values.data() + begin, count);
            std::vector<float> expected(values.size(), 7.0f);
            std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(begin), count, 0.0f);
            CHECK(values == expected);
        }
}

TEST_CASE("a size that no address space holds is bad_alloc") {
    CHECK_THROWS_AS(Buffer<double>(SIZE_MAX), std::bad_alloc);
    CHECK_THROWS_AS(Buffer<double>(SIZE_MAX / sizeof(double) + 2), std::bad_alloc);  // would wrap to 8 bytes
}

TEST_CASE("numbers count up in the order of insertion, however often the table grows") {
    for (const std::size_t expected :
         {std::size_t{0}, std::size_t{1}, std::size_t{33}, std::size_t{100000}}) {
        CAPTURE(expected);
        testing::Random random(expected);
        VertexTable table(expected);
        std::unordered_map<std::uint64_t, std::uint32_t> truth;
        for (int i = 0; i < 50000; ++i) {
            // Random keys, keys that follow one another, keys that differ in high bits alone, and repeats.
            const std::uint64_t bits = random.bits();
            const std::uint64_t key = i % 4 == 0   ? bits >> 1
                                      : i % 4 == 1 ? static_cast<std::uint64_t>(i)
                                      : i % 4 == 2 ? bits << 48
                                                   : bits % 1000;
            const bool known = truth.contains(key);
            bool right = table.find(key) == (known ? truth[key] : VertexTable::kAbsent);
            const auto number = truth.emplace(key, static_cast<std::uint32_t>(truth.size())).first->second;
            right = right && table.insert(key) == number;
            if (!right) FAIL("at key ", key);
            table.prefetch(bits);
        }
        bool all_found = true;
        for (const auto& [key, number] : truth)
            all_found &= table.find(key) == number && table.find_from_1(key) == number + 1 &&
                         table.keys()[number] == key;
        CHECK(all_found);
        bool none_found = true;
        for (int i = 0; i < 50000; ++i) {
            const std::uint64_t key = random.bits();
            if (!truth.contains(key)) none_found &= table.find_from_1(key) == 0;
        }
        CHECK(none_found);
    }
}

TEST_CASE("a tile's table holds as many keys as a tile can touch, and forgets them") {
    testing::Random random(1);
    TileTable table;
    for (const std::size_t keys : {std::size_t{1}, std::size_t{5000}, std::size_t{65280}, std::size_t{3}}) {
        CAPTURE(keys);
        std::vector<std::uint64_t> names(keys);
        for (std::uint64_t& name : names) name = random.bits();
        bool right = true;
        for (int twice = 0; twice < 2; ++twice)
            for (std::size_t k = 0; k < keys; ++k) right &= table.insert(names[k]) == k;
        CHECK(right);
        CHECK(table.take() == names);
    }
}

TEST_CASE("tiles hold each point once, in any shape of image") {
    for (const std::int64_t points : {1, 2, 15, 16, 17, 64, 100, 3839, 3840, 3841, 10007, 36000})
        for (const std::int64_t line : {0, 1, 15, 16, 17, 63, 64, 65, 100, 180, 333, 5000, 40000}) {
            CAPTURE(points);
            CAPTURE(line);
            const Tiles tiles(points, line);
            std::vector<int> visits(static_cast<std::size_t>(points), 0);
            bool right = tiles.points() == points;
            std::int64_t before = 0;
            for (std::int64_t tile = 0; tile < tiles.count(); ++tile) {
                right &= tiles.offset(tile) == before;
                std::int64_t size = 0;
                tiles.segments(tile, [&](std::int64_t begin, std::int64_t end) {
                    right &= begin < end && end - begin <= tiles.width() && 0 <= begin && end <= points;
                    for (std::int64_t p = begin; right && p < end; ++p) ++visits[static_cast<std::size_t>(p)];
                    size += end - begin;
                });
                right &= size <= Tiles::kMost;
                before += size;
            }
            CHECK(right);
            CHECK(visits == std::vector<int>(visits.size(), 1));
        }
}
