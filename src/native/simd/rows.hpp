// Rows of labels, in pieces of sizes that the compiler knows. Part of kernels.cpp.
#pragma once

#include <cstdint>

#include "simd/float16.hpp"
#include "simd/simd.hpp"

namespace {

// By halves: the compiler may not reorder a sum.
template <int N>
ATROUS_INLINE float sum_of(const Pack<N>& pack) {
    float lanes[N];
    store(lanes, pack);
    for (int half = N / 2; half > 0; half /= 2)
        ATROUS_UNROLL for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    return lanes[0];
}

// The values of Columns neighboring labels: packs as wide as the instruction set has, and 8 more where they
// leave some.
template <int Columns>
struct Row {
    static constexpr int kLanes = Columns < kNative ? Columns : kNative;
    static constexpr int kPacks = Columns / kLanes;
    static constexpr bool kRest = Columns % kLanes != 0;
    static_assert(Columns == kPacks * kLanes + kRest * 8);
    Pack<kLanes> pack[kPacks];
    Pack<kRest ? 8 : 1> rest;

    static ATROUS_INLINE Row zero() {
        Row row;
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) row.pack[i] = Pack<kLanes>{};
        row.rest = Pack<kRest ? 8 : 1>{};
        return row;
    }
    template <class T>
    static ATROUS_INLINE Row load(const T* from) {
        Row row;
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) row.pack[i] = ::load<Pack<kLanes>>(from + i * kLanes);
        if constexpr (kRest)
            row.rest = ::load<Pack<8>>(from + kPacks * kLanes);
        else
            row.rest = Pack<kRest ? 8 : 1>{};
        return row;
    }
    template <class T>
    ATROUS_INLINE void store(T* to) const {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i)::store(to + i * kLanes, pack[i]);
        if constexpr (kRest) ::store(to + kPacks * kLanes, rest);
    }
    ATROUS_INLINE Row& operator+=(const Row& other) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] += other.pack[i];
        if constexpr (kRest) rest += other.rest;
        return *this;
    }
    ATROUS_INLINE Row& operator*=(float factor) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] *= factor;
        if constexpr (kRest) rest *= factor;
        return *this;
    }
    ATROUS_INLINE Row& operator*=(const Row& other) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] *= other.pack[i];
        if constexpr (kRest) rest *= other.rest;
        return *this;
    }
    ATROUS_INLINE float sum() const {
        Pack<kLanes> packs = pack[0];
        ATROUS_UNROLL for (int i = 1; i < kPacks; ++i) packs += pack[i];
        if constexpr (kRest) return sum_of<kLanes>(packs) + sum_of<8>(rest);
        return sum_of<kLanes>(packs);
    }
    ATROUS_INLINE void add_scaled(const Row& other, float factor) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] += other.pack[i] * factor;
        if constexpr (kRest) rest += other.rest * factor;
    }
};

// Rows are read in scattered order, which no processor foresees.
template <class T>
ATROUS_INLINE void prefetch(const T* row, std::int64_t columns) {
#if defined(__GNUC__) || defined(__clang__)
    constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));
    for (std::int64_t c = 0; c < columns; c += kLine) __builtin_prefetch(row + c);
#else
    (void)row, (void)columns;
#endif
}

template <int N>
struct Columns {
    static constexpr int count = N;
};

// Floats from one row to the next: known to the compiler where rows consist of one piece, which saves
// products.
template <int N>
struct FixedStride {
    constexpr operator std::int64_t() const { return N; }
};

// Calls body(Columns<n>, first, stride) for pieces of fixed size that make up rows of `width` columns.
template <class Body>
ATROUS_INLINE void for_columns(std::int64_t width, const Body& body) {
    if (width == 1) return body(Columns<1>{}, std::int64_t{0}, FixedStride<1>{});
    if (width == 4) return body(Columns<4>{}, std::int64_t{0}, FixedStride<4>{});
    if (width == 8) return body(Columns<8>{}, std::int64_t{0}, FixedStride<8>{});
    if (width == 16) return body(Columns<16>{}, std::int64_t{0}, FixedStride<16>{});
    if (width == 24) return body(Columns<24>{}, std::int64_t{0}, FixedStride<24>{});
    std::int64_t first = 0;
    for (; width - first >= 32; first += 32) body(Columns<32>{}, first, width);
    if (width - first >= 24) {
        body(Columns<24>{}, first, width);
        first += 24;
    } else if (width - first >= 16) {
        body(Columns<16>{}, first, width);
        first += 16;
    } else if (width - first >= 8) {
        body(Columns<8>{}, first, width);
        first += 8;
    }
    if (width - first >= 4) {
        body(Columns<4>{}, first, width);
        first += 4;
    }
    for (; first < width; ++first) body(Columns<1>{}, first, width);
}

// Calls body(Columns<n>) for numbers of corners that are common, so that loops over corners unroll; n is 0
// for others.
template <class Body>
ATROUS_INLINE void for_corners(int corners, const Body& body) {
    if (corners == 6)
        body(Columns<6>{});
    else if (corners == 3)
        body(Columns<3>{});
    else
        body(Columns<0>{});
}

}  // namespace
