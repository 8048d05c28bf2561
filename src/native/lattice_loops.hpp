// Splat, blur and slice of rows; part of inner_loops.cpp.
#pragma once

#include "pack.hpp"

namespace {

using std::int32_t;
using std::int64_t;
using std::uint16_t;
using std::uint32_t;

constexpr uint32_t kAhead = 12;  // rows between asking for one and reading it

void splat(int64_t points, int corners, const uint16_t* targets, const float* weights, const float* rows,
           float* sums, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for_corners(corners, [&](auto known) {
            const int count = known.count > 0 ? known.count : corners;
            for (int64_t p = 0; p < points; ++p) {
                const R row = R::load(rows + p * stride + first);
                ATROUS_UNROLL for (int k = 0; k < count; ++k) {
                    float* to = sums + targets[p * count + k] * stride + first;
                    R sum = R::load(to);
                    sum.add_scaled(row, weights[p * count + k]);
                    sum.store(to);
                }
            }
        });
    });
}

void sum(int64_t begin, int64_t end, const uint32_t* starts, const uint32_t* indices, const float* rows,
         float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const uint32_t last = starts[end];
        for (int64_t v = begin; v < end; ++v) {
            R total = R::zero();
            for (uint32_t e = starts[v]; e < starts[v + 1]; ++e) {
                if (e + kAhead < last) prefetch(rows + indices[e + kAhead] * stride + first, columns.count);
                total += R::load(rows + indices[e] * stride + first);
            }
            total.store(out + v * stride + first);
        }
    });
}

void weighted_sum(int64_t begin, int64_t end, const uint32_t* starts, const uint32_t* indices,
                  const float* weights, const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const uint32_t last = starts[end];
        for (int64_t v = begin; v < end; ++v) {
            R total = R::zero();
            for (uint32_t e = starts[v]; e < starts[v + 1]; ++e) {
                if (e + kAhead < last) prefetch(rows + indices[e + kAhead] * stride + first, columns.count);
                total.add_scaled(R::load(rows + indices[e] * stride + first), weights[e]);
            }
            total.store(out + v * stride + first);
        }
    });
}

void blur(int64_t begin, int64_t end, const uint32_t* neighbours, const float* rows, float* out,
          int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t v = begin; v < end; ++v) {
            if (v + kAhead / 2 < end) {
                prefetch(rows + neighbours[2 * v + kAhead] * stride + first, columns.count);
                prefetch(rows + neighbours[2 * v + kAhead + 1] * stride + first, columns.count);
            }
            R sum = R::load(rows + neighbours[2 * v] * stride + first);
            sum += R::load(rows + neighbours[2 * v + 1] * stride + first);
            sum *= 0.5f;
            sum += R::load(rows + v * stride + first);
            sum.store(out + v * stride + first);
        }
    });
}

void copy(int64_t count, const uint32_t* indices, float scale, const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t i = 0; i < count; ++i) {
            if (i + kAhead < count) prefetch(rows + indices[i + kAhead] * stride + first, columns.count);
            R row = R::load(rows + indices[i] * stride + first);
            row *= scale;
            row.store(out + i * stride + first);
        }
    });
}

// Calls body(n) for a number of columns that is common, which the compiler then knows, or for another one.
template <class Body>
ATROUS_INLINE void for_count(int64_t count, const Body& body) {
    if (count == 2) return body(Columns<2>{});
    if (count == 3) return body(Columns<3>{});
    if (count == 4) return body(Columns<4>{});
    body(Columns<0>{});
}

void copy_columns(int64_t count, const uint32_t* indices, float scale, const float* rows, int64_t width,
                  const int32_t* columns, int64_t chosen, float* out, int64_t out_width) {
    for_count(chosen, [&](auto known) {
        constexpr int kKnown = decltype(known)::count;
        const int64_t n = kKnown > 0 ? kKnown : chosen;
        for (int64_t i = 0; i < count; ++i) {
            if (i + kAhead < count) prefetch(rows + indices[i + kAhead] * width, width);
            const float* from = rows + indices[i] * width;
            float* to = out + i * out_width;
            for (int64_t c = 0; c < n; ++c) to[c] = scale * from[columns[c]];
            for (int64_t c = n; c < out_width; ++c) to[c] = 0.0f;
        }
    });
}

void expand(int64_t count, const float* rows, int64_t width, const int32_t* columns, int64_t chosen,
            float* out, int64_t out_width) {
    for_count(chosen, [&](auto known) {
        constexpr int kKnown = decltype(known)::count;
        const int64_t n = kKnown > 0 ? kKnown : chosen;
        for (int64_t i = 0; i < count; ++i) {
            float* to = out + i * out_width;
            for_columns(out_width, [&](auto piece, int64_t first, auto) {
                Row<decltype(piece)::count>::zero().store(to + first);
            });
            for (int64_t c = 0; c < n; ++c) to[columns[c]] = rows[i * width + c];
        }
    });
}

void pick(int64_t count, const float* rows, int64_t width, const int32_t* places, int64_t chosen,
          float padding, float* out, int64_t out_width) {
    for_count(chosen, [&](auto known) {
        constexpr int kKnown = decltype(known)::count;
        const int64_t n = kKnown > 0 ? kKnown : chosen;
        bool everywhere = true;
        for (int64_t c = 0; c < n; ++c) everywhere = everywhere && places[c] >= 0;
        if (everywhere) {
            for (int64_t i = 0; i < count; ++i) {
                float* to = out + i * out_width;
                for (int64_t c = 0; c < n; ++c) to[c] = rows[i * width + places[c]];
                for (int64_t c = n; c < out_width; ++c) to[c] = padding;
            }
            return;
        }
        for (int64_t i = 0; i < count; ++i) {
            float* to = out + i * out_width;
            for (int64_t c = 0; c < out_width; ++c) to[c] = c < n ? 0.0f : padding;
        }
        for (int64_t c = 0; c < n; ++c)
            for (int64_t i = 0; places[c] >= 0 && i < count; ++i)
                out[i * out_width + c] = rows[i * width + places[c]];
    });
}

void slice(int64_t points, int corners, const uint16_t* sources, const float* weights, const float* rows,
           float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for_corners(corners, [&](auto known) {
            const int count = known.count > 0 ? known.count : corners;
            for (int64_t p = 0; p < points; ++p) {
                R sum = R::zero();
                ATROUS_UNROLL for (int k = 0; k < count; ++k) sum.add_scaled(
                    R::load(rows + sources[p * count + k] * stride + first), weights[p * count + k]);
                sum.store(out + p * stride + first);
            }
        });
    });
}

void slice_far(int64_t points, int corners, const uint16_t* sources, const float* weights,
               const uint32_t* indices, float scale, const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < points; ++p) {
            R sum = R::zero();
            for (int k = 0; k < corners; ++k)
                sum.add_scaled(R::load(rows + indices[sources[p * corners + k]] * stride + first),
                               weights[p * corners + k]);
            sum *= scale;
            sum.store(out + p * stride + first);
        }
    });
}

}  // namespace
