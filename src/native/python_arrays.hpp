// Arrays of Python, and calls without the GIL. Part of bindings.cpp.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "filter.hpp"
#include "point_values.hpp"
#include "thread_pool.hpp"

namespace nb = nanobind;

namespace {

using atrous::ThreadPool;
using Planes = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Image = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using OutPlanes = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Strided = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using OutVector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutStrided = nb::ndarray<float, nb::ndim<2>, nb::device::cpu>;
using OutLabels = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutValues = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FilterPointer = std::shared_ptr<atrous::Filter>;

// Maximum values of labels at points. Arrays with strides of 0 may be larger than any memory, and the sizes
// of arrays that are computed from them must not overflow.
constexpr std::int64_t kMostValues = std::int64_t{1} << 48;

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

bool asked_to_stop() {
    const nb::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

// Python handles signals in its main thread alone. In others, asking would only mean to wait for the GIL,
// which a daemon thread never gets any more once the interpreter ends.
bool in_main_thread() {
    const nb::object main = nb::module_::import_("threading").attr("main_thread")();
    return nb::cast<unsigned long>(main.attr("ident")) == PyThread_get_thread_ident();
}

long this_process() {
#if defined(_WIN32)
    return 0;
#else
    return static_cast<long>(getpid());
#endif
}

// Set when the interpreter ends: see closing() in the module.
std::atomic<bool> closing{false};

// Runs work(pool) with a pool that is reused by the next call, because starting threads takes long on a busy
// machine; with a new pool while another thread uses that one. Never destroyed: a child of fork(),
// where its workers do not exist, could not join them.
template <class Work>
void with_team(int threads, ThreadPool::Poll asked, const Work& work) {
    static std::mutex mutex;
    static ThreadPool* kept = nullptr;
    static long process = 0;
    const std::unique_lock lock(mutex, std::try_to_lock);
    if (threads <= 1 || !lock) {
        ThreadPool pool(threads, asked);
        return work(pool);
    }
    if (kept != nullptr && process != this_process())
        kept = nullptr;
    else if (kept != nullptr && kept->size() != threads)
        delete std::exchange(kept, nullptr);
    if (kept == nullptr) kept = new ThreadPool(threads);
    process = this_process();
    kept->set_poll(asked);
    work(*kept);
}

// Runs work(pool) without the GIL; Ctrl-C stops it.
template <class Work>
void released(int threads, const Work& work) {
    const ThreadPool::Poll asked = in_main_thread() ? asked_to_stop : nullptr;
    try {
        const nb::gil_scoped_release release;
        with_team(threads, asked, work);
        // Only daemon threads run on by then, and the interpreter would end them without their unwinding.
        while (closing.load() && asked == nullptr) std::this_thread::sleep_for(std::chrono::hours(1));
    } catch (...) {
        // Interrupted, or what another thread threw in the meantime: the signal's handler has raised.
        if (asked != nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
        throw;
    }
}

std::int64_t rows(const Planes& planes) {
    return static_cast<std::int64_t>(planes.shape(0));
}
std::int64_t points(const Planes& planes) {
    return static_cast<std::int64_t>(planes.shape(1));
}

template <class Array>
std::vector<float> copied(const Array& array) {
    return std::vector<float>(array.data(), array.data() + array.size());
}

template <class Array>
bool finite(const Array& array) {
    // Infinity and NaN times 0 are NaN; several sums, none of which waits for the others.
    constexpr std::size_t kSums = 16;
    float odd[kSums] = {};
    std::size_t i = 0;
    for (; i + kSums <= array.size(); i += kSums)
        for (std::size_t k = 0; k < kSums; ++k) odd[k] += array.data()[i + k] * 0.0f;
    for (; i < array.size(); ++i) odd[0] += array.data()[i] * 0.0f;
    return std::all_of(odd, odd + kSums, [](float sum) { return sum == 0.0f; });
}

// Planes (C, N) with any strides.
template <class T, class Array>
atrous::PointValues<T> point_values(const Array& planes) {
    return {planes.data(), static_cast<std::int64_t>(planes.shape(0)), planes.stride(1), planes.stride(0)};
}

}  // namespace
