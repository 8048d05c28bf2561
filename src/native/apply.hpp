// One filtering alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"

namespace atrous {

// K * rows for values given as `labels` planes: to find normalizers, and to test filters. No planes stand for
// one of ones.
inline void apply(ThreadPool& pool, const Filter& filter, const float* planes, std::int64_t labels,
                  float* out) {
    const std::int64_t points = filter.points(), width = labels == 1 ? 1 : padded_width(labels);
    const std::int64_t chunk = chunk_of_pixels(width), group = 1 << 14;
    Buffer<float> rows(static_cast<std::size_t>(points * width));
    pool.for_ranges(points, group, [&](std::int64_t begin, std::int64_t end) {
        if (planes == nullptr)
            std::fill_n(rows.data() + begin, end - begin, 1.0f);
        else
            for (std::int64_t p = begin; p < end; ++p)
                for (std::int64_t c = 0; c < width; ++c)
                    rows[static_cast<std::size_t>(p * width + c)] =
                        c < labels ? planes[c * points + p] : 0.0f;
    });
    const auto filtering = filter.start(width, false);
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
            const float* filtered =
                filtering->slice(tile, place, begin, end, scratch[w].data(), message[w].data());
            for (std::int64_t c = 0; c < labels; ++c)
                for (std::int64_t p = begin; p < end; ++p)
                    out[c * points + p] = filtered[(p - begin) * width + c];
        },
        [](std::int64_t, int) {});
}

}  // namespace atrous
