// Threads that share loops.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace atrous {

// Thrown out of a loop that its user asked to stop.
class Interrupted : public std::exception {};

// Its workers sleep between loops. In a child of fork() they are gone, and the caller runs all ranges alone.
class ThreadPool {
  public:
    // Poll now and then, by the thread that built the pool alone; true stops the loop that runs.
    using Poll = bool (*)();

    explicit ThreadPool(int threads, Poll stop = nullptr)
        : stop_(stop), shares_(static_cast<std::size_t>(std::max(threads, 1))) {
        try {
            workers_.reserve(static_cast<std::size_t>(std::max(threads, 1)));
            for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
        } catch (const std::exception&) {
            // The system refuses more threads: results do not depend on their number.
        }
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ~ThreadPool() {
        {
            const std::lock_guard lock(mutex_);
            closing_.store(true);
            round_.fetch_add(1, std::memory_order_release);
        }
        start_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    // For the calls to come.
    void set_poll(Poll stop) {
        stop_ = stop;
        next_question_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    }

    // Threads, the caller's included.
    int size() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls body(begin, end) or body(begin, end, worker) for consecutive ranges of `grain` indices below
    // `count`. Which worker, below size(), runs which range is left to chance, so a body may write only what
    // belongs to its own range, or for its worker's later use. Each worker begins with a share of its own,
    // the same in every loop, so that it meets in its cache what it left there.
    template <class Body>
    void for_ranges(std::int64_t count, std::int64_t grain, const Body& body) {
        run(count, grain, body, size());
    }

    // The same, the ranges started one after the other.
    template <class Body>
    void in_turn(std::int64_t count, std::int64_t grain, const Body& body) {
        run(count, grain, body, 1);
    }

    // For worker 0 within long ranges: throws Interrupted if the loop shall stop.
    void poll() {
        if (stop_ == nullptr) return;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_question_) return;
        next_question_ = now + std::chrono::milliseconds(50);
        if (stop_()) throw Interrupted();
    }

  private:
    // Ranges that are still to be run; a cache line each.
    struct alignas(64) Share {
        std::atomic<std::int64_t> next{0};
        std::int64_t end = 0;
    };

    template <class Body>
    void run(std::int64_t count, std::int64_t grain, const Body& body, std::int64_t shares) {
        const std::int64_t ranges = (count + grain - 1) / grain;
        const auto call = [&](std::int64_t r, int worker) {
            if constexpr (std::is_invocable_v<Body, std::int64_t, std::int64_t, int>)
                body(r * grain, std::min(count, (r + 1) * grain), worker);
            else
                body(r * grain, std::min(count, (r + 1) * grain));
        };
        if (workers_.empty() || ranges <= 1) {
            for (std::int64_t r = 0; r < ranges; ++r) {
                poll();
                call(r, 0);
            }
            return;
        }
        job_ = [](const void* target, std::int64_t r, int worker) {
            (*static_cast<decltype(&call)>(target))(r, worker);
        };
        target_ = &call;
        for (std::int64_t s = 0; s < static_cast<std::int64_t>(shares_.size()); ++s) {
            Share& share = shares_[static_cast<std::size_t>(s)];
            share.end = s < shares ? (s + 1) * ranges / shares : 0;
            share.next.store(s < shares ? s * ranges / shares : 0, std::memory_order_relaxed);
        }
        // A worker that the system has not let run yet is not waited for.
        open_.store(true);
        {
            const std::lock_guard lock(mutex_);
            round_.fetch_add(1, std::memory_order_release);
        }
        start_.notify_all();
        take_ranges(0);
        open_.store(false);
        wait_until([this] { return busy_.load() == 0; }, done_);
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }

    static void pause() {
#if defined(__x86_64__) || defined(_M_X64)
        _mm_pause();
#else
        std::this_thread::yield();
#endif
    }

    // A short spin bridges the gap between two loops; sleeping costs more than such a gap lasts.
    template <class Ready>
    void wait_until(const Ready& ready, std::condition_variable& signal) {
        for (int spin = 0; spin < 2000; ++spin) {
            if (ready()) return;
            pause();
        }
        std::unique_lock lock(mutex_);
        signal.wait(lock, ready);
    }

    void take_ranges(int worker) {
        try {
            // One's own share first, then what is left of the others'.
            for (std::size_t s = 0; s < shares_.size(); ++s) {
                Share& share = shares_[(static_cast<std::size_t>(worker) + s) % shares_.size()];
                for (std::int64_t r; (r = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
                    if (worker == 0) poll();
                    job_(target_, r, worker);
                }
            }
        } catch (...) {
            for (Share& share : shares_) share.next.store(share.end, std::memory_order_relaxed);
            const std::lock_guard lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
    }

    // A thread's first exception takes memory for data of the thread's own, and where there is none glibc
    // ends the process: so that is done before there is work, and a thread that cannot does none.
    static bool can_throw() {
        void* volatile probe = std::malloc(1 << 12);
        if (probe == nullptr) return false;
        std::free(probe);
        return std::uncaught_exceptions() == 0;
    }

    void work(int worker) {
        const bool able = can_throw();
        for (std::uint64_t seen = 0;;) {
            wait_until([&] { return round_.load(std::memory_order_acquire) != seen; }, start_);
            seen = round_.load(std::memory_order_acquire);
            if (closing_.load()) return;
            busy_.fetch_add(1);
            if (able && open_.load()) take_ranges(worker);
            if (busy_.fetch_sub(1) == 1) {
                const std::lock_guard lock(mutex_);
                done_.notify_one();
            }
        }
    }

    Poll stop_;
    std::chrono::steady_clock::time_point next_question_ =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    std::vector<Share> shares_;  // one for each worker at least
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable start_, done_;
    std::atomic<std::uint64_t> round_{0};
    std::atomic<int> busy_{0};  // workers that take ranges
    std::atomic<bool> open_{false};
    void (*job_)(const void*, std::int64_t, int) = nullptr;
    const void* target_ = nullptr;
    std::exception_ptr failure_;
    std::atomic<bool> closing_{false};
};

}  // namespace atrous
