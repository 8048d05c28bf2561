// Multiplication of values by a filter.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "point_values.hpp"

namespace atrous {

// Writes K, or its transpose, times values to `out`. Null data mean ones.
inline void apply(ThreadPool& pool, const Filter& filter, const PointValues<const float>& values,
                  const PointValues<float>& out, bool transposed = false) {
    const std::int64_t points = filter.points();
    const std::int64_t width = values.labels == 1 ? 1 : padded_width(values.labels);
    const std::int64_t chunk = chunk_of_pixels(width);
    Buffer<float> rows(static_cast<std::size_t>(points * width));
    if (values.data == nullptr)
        std::fill_n(rows.data(), points, 1.0f);
    else
        read_rows(pool, values, points, width, 0.0f, rows.data());
    const auto filtering = transposed ? filter.start_transposed(width) : filter.start(width, false);
    std::vector<Buffer<float>> scratch, message;
    for (int worker = 0; worker < pool.size(); ++worker) {
        scratch.emplace_back(filtering->scratch());
        message.emplace_back(static_cast<std::size_t>(chunk * width));
    }
    pool.for_ranges(filter.tiles().count(), 1, [&](std::int64_t tile, std::int64_t, int worker) {
        filtering->splat(tile, rows.data(), scratch[static_cast<std::size_t>(worker)].data());
    });
    filtering->blur(pool, rows.data());
    const auto open = [&](std::int64_t tile, int worker) {
        filtering->begin_tile(tile, scratch[static_cast<std::size_t>(worker)].data());
        return true;
    };
    for_chunks(
        pool, filter.tiles(), chunk, open,
        [&](std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end, int worker) {
            const auto w = static_cast<std::size_t>(worker);
            write_rows(filtering->slice(tile, place, begin, end, scratch[w].data(), message[w].data()), width,
                       begin, end, out);
        },
        [](std::int64_t, int) {});
}

// Writes K * 1, one value for each point.
inline void mass(ThreadPool& pool, const Filter& filter, float* out) {
    apply(pool, filter, {nullptr, 1, 1, 1}, {out, 1, 1, 1});
}

}  // namespace atrous
