// Operations on rows of lattice vertices; part of kernels.cpp.
#pragma once

#include <cstdint>
#include <type_traits>

#include "simd/kernels.hpp"
#include "simd/rows.hpp"

namespace {

using std::int32_t;
using std::int64_t;
using std::uint16_t;
using std::uint32_t;

constexpr uint32_t kAhead = 12;  // rows between the prefetch of one and its use

// Calls body(n) with the number of columns as a constant if it is a common one, else with 0.
template <class Body>
ATROUS_INLINE void for_count(int64_t count, const Body& body) {
    if (count == 2) return body(Columns<2>{});
    if (count == 3) return body(Columns<3>{});
    if (count == 4) return body(Columns<4>{});
    body(Columns<0>{});
}

// Kernels for rows of T: floats or halves.
template <class T>
struct OfVertices {
    template <int Columns>
    static constexpr bool kShort = std::is_same_v<T, float> && Columns <= 8;

    static void sum(int64_t begin, int64_t end, const uint32_t* first_row, const uint32_t* starts,
                    const uint32_t* owners, const uint32_t* others, const void* from, void* to,
                    int64_t width) {
        const T* rows = static_cast<const T*>(from);
        T* out = static_cast<T*>(to);
        for_columns(width, [&](auto columns, int64_t first, auto stride) {
            constexpr int kColumns = decltype(columns)::count;
            using R = Row<kColumns>;
            const uint32_t last = starts[end];
            const auto soon = [&](uint32_t e) {
                if (e + kAhead < last) prefetch(rows + others[e + kAhead] * stride + first, kColumns);
            };
            for (int64_t v = begin; v < end; ++v) {
                if (v + kAhead < end) prefetch(rows + first_row[v + kAhead] * stride + first, kColumns);
                R total = R::load(rows + first_row[v] * stride + first);
                // Short rows are added below, because the number of rows is unpredictable; not halves, which
                // would be rounded twice.
                for (uint32_t e = starts[v]; !kShort<kColumns> && e < starts[v + 1]; ++e) {
                    soon(e);
                    total += R::load(rows + others[e] * stride + first);
                }
                total.store(out + v * stride + first);
            }
            for (uint32_t e = starts[begin]; kShort<kColumns> && e < last; ++e) {
                soon(e);
                T* const own = out + owners[e] * stride + first;
                R total = R::load(own);
                total += R::load(rows + others[e] * stride + first);
                total.store(own);
            }
        });
    }

    static void weighted_sum(int64_t begin, int64_t end, const uint32_t* starts, const uint32_t* indices,
                             const float* weights, const void* from, void* to, int64_t width) {
        const T* rows = static_cast<const T*>(from);
        T* out = static_cast<T*>(to);
        for_columns(width, [&](auto columns, int64_t first, auto stride) {
            using R = Row<decltype(columns)::count>;
            const uint32_t last = starts[end];
            for (int64_t v = begin; v < end; ++v) {
                R total = R::zero();
                for (uint32_t e = starts[v]; e < starts[v + 1]; ++e) {
                    if (e + kAhead < last)
                        prefetch(rows + indices[e + kAhead] * stride + first, columns.count);
                    total.add_scaled(R::load(rows + indices[e] * stride + first), weights[e]);
                }
                total.store(out + v * stride + first);
            }
        });
    }

    // blur_chains for rows of one number, without a branch at the unpredictable end of a chain.
    static void blur_numbers(int64_t begin, int64_t end, const uint32_t* order, T* rows) {
        constexpr int64_t kRun = 128, kSoon = 64;
        float values[kRun + 2], sums[kRun];  // values: a run, the value before and the one after
        T nowhere;
        values[0] = 0.0f;
        values[1] = as_float(rows[order[begin]]);
        const int64_t last = end - 1;  // its vertex is 0
        for (int64_t b = begin; b < last; b += kRun) {
            const int64_t run = last - b < kRun ? last - b : kRun;
            const uint32_t* const own = order + b;
            for (int64_t i = 1; i <= run; ++i) {
                prefetch(rows + order[b + i + kSoon < last ? b + i + kSoon : last], 1);
                values[i + 1] = as_float(rows[own[i]]);
            }
            for (int64_t i = 0; i < run; ++i) sums[i] = values[i + 1] + 0.5f * (values[i] + values[i + 2]);
            // All threads share row 0, which must not be written.
            for (int64_t i = 0; i < run; ++i) set(*(own[i] != 0 ? rows + own[i] : &nowhere), sums[i]);
            values[0] = values[run];
            values[1] = values[run + 1];
        }
    }

    // Goes along the chains with three rows in registers: those behind, at and ahead of entry e. An entry 0,
    // the row of zeros, ends each chain.
    static void blur_chains(int64_t begin, int64_t end, const uint32_t* vertices, void* values,
                            int64_t width) {
        if (width == 1) return blur_numbers(begin, end, vertices, static_cast<T*>(values));
        for_columns(width, [&](auto columns, int64_t first, auto stride) {
            using R = Row<decltype(columns)::count>;
            constexpr int64_t kSoon = decltype(columns)::count <= 8 ? 32 : kAhead;
            T* const rows = static_cast<T*>(values) + first;
            const uint32_t* const order = vertices;
            const int64_t last = end - 1;
            alignas(64) T nowhere[columns.count];
            R behind = R::zero(), own = R::load(rows + order[begin] * stride);
            for (int64_t e = begin; e < last; ++e) {
                prefetch(rows + order[e + kSoon < last ? e + kSoon : last] * stride, columns.count);
                const R ahead = R::load(rows + order[e + 1] * stride);
                R sum = ahead;
                sum += behind;
                sum *= 0.5f;
                sum += own;
                // All threads share row 0, so the sum of an entry 0 is stored to `nowhere`. The address is
                // selected with a mask, because a branch would be mispredicted at the end of each chain.
                const std::uintptr_t real = 0 - std::uintptr_t{order[e] != 0};
                T* const to =
                    reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(rows + order[e] * stride) & real) |
                                         (reinterpret_cast<std::uintptr_t>(nowhere) & ~real));
                sum.store(to);
                behind = own;
                own = ahead;
            }
        });
    }

    static void copy(int64_t count, const uint32_t* indices, float scale, const void* from, float* out,
                     int64_t width) {
        const T* rows = static_cast<const T*>(from);
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

    static void copy_columns(int64_t count, const uint32_t* indices, float scale, const void* from,
                             int64_t width, const int32_t* columns, int64_t chosen, float* out,
                             int64_t out_width) {
        const T* rows = static_cast<const T*>(from);
        for_count(chosen, [&](auto known) {
            constexpr int kKnown = decltype(known)::count;
            const int64_t n = kKnown > 0 ? kKnown : chosen;
            for (int64_t i = 0; i < count; ++i) {
                if (i + kAhead < count) prefetch(rows + indices[i + kAhead] * width, width);
                const T* row = rows + indices[i] * width;
                float* to = out + i * out_width;
                for (int64_t c = 0; c < n; ++c) to[c] = scale * as_float(row[columns[c]]);
                for (int64_t c = n; c < out_width; ++c) to[c] = 0.0f;
            }
        });
    }

    static void store(int64_t count, float scale, const float* rows, void* to, int64_t width) {
        T* out = static_cast<T*>(to);
        for_columns(width, [&](auto columns, int64_t first, auto stride) {
            using R = Row<decltype(columns)::count>;
            for (int64_t i = 0; i < count; ++i) {
                R row = R::load(rows + i * stride + first);
                row *= scale;
                row.store(out + i * stride + first);
            }
        });
    }

    static void expand(int64_t count, float scale, const float* rows, int64_t width, const int32_t* columns,
                       int64_t chosen, void* to, int64_t out_width) {
        T* out = static_cast<T*>(to);
        for_count(chosen, [&](auto known) {
            constexpr int kKnown = decltype(known)::count;
            const int64_t n = kKnown > 0 ? kKnown : chosen;
            for (int64_t i = 0; i < count; ++i) {
                T* row = out + i * out_width;
                for_columns(out_width, [&](auto piece, int64_t first, auto) {
                    Row<decltype(piece)::count>::zero().store(row + first);
                });
                for (int64_t c = 0; c < n; ++c) set(row[columns[c]], scale * rows[i * width + c]);
            }
        });
    }

    static void slice_far(int64_t points, int corners, const uint16_t* sources, const float* weights,
                          const uint32_t* indices, float scale, const void* from, float* out, int64_t width) {
        const T* rows = static_cast<const T*>(from);
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

    static constexpr atrous::VertexKernels loops() {
        return {sizeof(T), sum, weighted_sum, blur_chains, copy, copy_columns, store, expand, slice_far};
    }
};

}  // namespace
