#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "reference.hpp"
#include "thread_pool.hpp"

using atrous::ThreadPool;
using testing::kThreads;

namespace {

std::atomic<int> questions{0};
std::atomic<bool> stop_now{false};
std::atomic<bool> asked_elsewhere{false};
std::thread::id asker;

bool ask() {
    ++questions;
    if (std::this_thread::get_id() != asker) asked_elsewhere = true;
    return stop_now;
}

}  // namespace

TEST_CASE("every index is visited once, in ranges of the grain") {
    for (const int threads : {-3, 0, 1, 2, 3, 7, 20}) {
        ThreadPool pool(threads);
        for (const std::int64_t count : {0, 1, 2, 5, 64, 1000})
            for (const std::int64_t grain : {1, 3, 64, 5000}) {
                CAPTURE(threads);
                CAPTURE(count);
                CAPTURE(grain);
                std::vector<int> visits(static_cast<std::size_t>(count));
                std::atomic<bool> fits{true};
                pool.for_ranges(count, grain, [&](std::int64_t begin, std::int64_t end) {
                    if (begin % grain != 0 || end - begin > grain || begin >= end) fits = false;
                    for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
                });
                CHECK(fits);
                CHECK(visits == std::vector<int>(visits.size(), 1));
            }
    }
}

TEST_CASE("in turn, a range begins when all before it have begun") {
    for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        std::vector<std::atomic<bool>> begun(300);
        std::atomic<int> late{0};
        pool.in_turn(300, 1, [&](std::int64_t r, std::int64_t) {
            begun[static_cast<std::size_t>(r)] = true;
            // Others may have taken theirs without having come to this line.
            int missing = 0;
            for (std::int64_t before = 0; before < r; ++before)
                missing += !begun[static_cast<std::size_t>(before)];
            if (missing >= pool.size()) ++late;
        });
        CHECK(late == 0);
        CHECK(std::all_of(begun.begin(), begun.end(), [](const auto& b) { return b.load(); }));
    }
}

TEST_CASE("what one loop wrote, the next one reads, whoever ran it") {
    for (const int threads : kThreads) {
        ThreadPool pool(threads);
        std::vector<std::int64_t> from(100), to(100);
        std::iota(from.begin(), from.end(), 0);
        const std::int64_t sum = std::accumulate(from.begin(), from.end(), std::int64_t{0});
        for (int round = 0; round < 1000; ++round) {
            pool.for_ranges(100, 7, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i)
                    to[static_cast<std::size_t>(99 - i)] = from[static_cast<std::size_t>(i)] + 1;
            });
            from.swap(to);
        }
        CAPTURE(threads);
        CHECK(std::accumulate(from.begin(), from.end(), std::int64_t{0}) == sum + 100 * 1000);
    }
}

TEST_CASE("a pool that is never used ends") {
    for (int round = 0; round < 50; ++round) ThreadPool pool(7);
}

TEST_CASE("teams that sleep between loops wake up") {
    ThreadPool pool(3);
    std::atomic<int> visits{0};
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than the spin
        pool.for_ranges(6, 1, [&](std::int64_t, std::int64_t) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            ++visits;
        });
    }
    CHECK(visits == 30);
}

TEST_CASE("an exception in a body comes out, and the pool goes on") {
    for (const int threads : kThreads) {
        ThreadPool pool(threads);
        for (int round = 0; round < 100; ++round) {
            const std::int64_t thrower = round % 40;
            std::string caught;
            try {
                pool.for_ranges(40, 1, [&](std::int64_t begin, std::int64_t) {
                    if (begin == thrower) throw std::domain_error("range " + std::to_string(begin));
                });
            } catch (const std::domain_error& error) {
                caught = error.what();
            }
            CAPTURE(threads);
            CHECK(caught == "range " + std::to_string(thrower));
            std::atomic<int> visits{0};
            pool.for_ranges(40, 1, [&](std::int64_t, std::int64_t) { ++visits; });
            CHECK(visits == 40);
        }
    }
}

TEST_CASE("of many exceptions one comes out") {
    for (const int threads : kThreads) {
        ThreadPool pool(threads);
        for (int round = 0; round < 50; ++round)
            CHECK_THROWS_AS(
                pool.for_ranges(1000, 1, [](std::int64_t, std::int64_t) { throw std::bad_alloc(); }),
                std::bad_alloc);
    }
}

TEST_CASE("a loop stops when it is asked to, and only its own thread is asked") {
    asker = std::this_thread::get_id();
    for (const int threads : kThreads) {
        CAPTURE(threads);
        stop_now = true;
        ThreadPool pool(threads, ask);
        std::atomic<int> visits{0};
        const auto body = [&](std::int64_t, std::int64_t) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            ++visits;
        };
        CHECK_THROWS_AS(pool.for_ranges(60000, 1, body), atrous::Interrupted);
        CHECK(visits < 60000);
        stop_now = false;
        visits = 0;
        questions = 0;
        pool.for_ranges(200 * threads, 1, body);
        CHECK(visits == 200 * threads);
        CHECK(questions > 0);
        // A loop of one range asks as well: many small loops would never end otherwise.
        stop_now = true;
        CHECK_THROWS_AS(
            [&] {
                for (;;) pool.for_ranges(1, 1, body);
            }(),
            atrous::Interrupted);
    }
    CHECK_FALSE(asked_elsewhere);
}
