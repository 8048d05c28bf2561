// Values per point and label in a caller's array, and their conversion to and from rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "thread_pool.hpp"

namespace atrous {

// Strides are in floats.
template <class T>
struct PointValues {
    T* data;
    std::int64_t labels, point_stride, label_stride;
};

// rows[p, c] = value of point p and label c; `padding` beyond the labels.
inline void read_rows(ThreadPool& pool, const PointValues<const float>& values, std::int64_t points,
                      std::int64_t width, float padding, float* rows) {
    pool.for_ranges(points, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
            const float* from = values.data + p * values.point_stride;
            float* row = rows + p * width;
            for (std::int64_t c = 0; c < values.labels; ++c) row[c] = from[c * values.label_stride];
            std::fill(row + values.labels, row + width, padding);
        }
    });
}

// Writes the values of the points [begin, end), whose rows start at `rows`.
inline void write_rows(const float* rows, std::int64_t width, std::int64_t begin, std::int64_t end,
                       const PointValues<float>& out) {
    if (out.label_stride == 1) {
        for (std::int64_t p = begin; p < end; ++p)
            std::copy_n(rows + (p - begin) * width, out.labels, out.data + p * out.point_stride);
        return;
    }
    for (std::int64_t c = 0; c < out.labels; ++c)
        for (std::int64_t p = begin; p < end; ++p)
            out.data[p * out.point_stride + c * out.label_stride] = rows[(p - begin) * width + c];
}

}  // namespace atrous
