// A few floats side by side, as GCC's and Clang's vector types where there are such. Part of
// inner_loops.cpp: everything is local to it, so that the linker cannot mix instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

#if defined(__GNUC__) || defined(__clang__)
template <int N>
struct PackOf {
    typedef float Type __attribute__((vector_size(N * sizeof(float))));
};
template <int N>
using Pack = typename PackOf<N>::Type;
#define ATROUS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define ATROUS_UNROLL _Pragma("unroll")
#else
#define ATROUS_UNROLL _Pragma("GCC unroll 8")
#endif

template <class P>
ATROUS_INLINE P larger(const P& a, const P& b) {
    return a > b ? a : b;
}

// The lanes whose numbers differ in the bits of M change places.
template <int M>
ATROUS_INLINE Pack<16> swapped(const Pack<16>& v) {
    return __builtin_shufflevector(v, v, 0 ^ M, 1 ^ M, 2 ^ M, 3 ^ M, 4 ^ M, 5 ^ M, 6 ^ M, 7 ^ M, 8 ^ M, 9 ^ M,
                                   10 ^ M, 11 ^ M, 12 ^ M, 13 ^ M, 14 ^ M, 15 ^ M);
}
template <int M>
ATROUS_INLINE Pack<8> swapped(const Pack<8>& v) {
    return __builtin_shufflevector(v, v, 0 ^ M, 1 ^ M, 2 ^ M, 3 ^ M, 4 ^ M, 5 ^ M, 6 ^ M, 7 ^ M);
}
template <int M>
ATROUS_INLINE Pack<4> swapped(const Pack<4>& v) {
    return __builtin_shufflevector(v, v, 0 ^ M, 1 ^ M, 2 ^ M, 3 ^ M);
}
ATROUS_INLINE Pack<16> twice(const Pack<8>& v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
}
// The Group-th part of 16 factors, each for Width neighbouring lanes.
template <int Width, int Group>
ATROUS_INLINE Pack<16> spread(const Pack<16>& v) {
    constexpr int F = Group * 16 / Width;
    constexpr int S = Width == 4 ? 1 : 0;  // the second half of a group of 8 is of the same row
    return __builtin_shufflevector(v, v, F, F, F, F, F + S, F + S, F + S, F + S, F + 1 + S, F + 1 + S,
                                   F + 1 + S, F + 1 + S, F + 1 + 2 * S, F + 1 + 2 * S, F + 1 + 2 * S,
                                   F + 1 + 2 * S);
}
ATROUS_INLINE Pack<8> lower_half(const Pack<16>& v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
ATROUS_INLINE Pack<8> upper_half(const Pack<16>& v) {
    return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}
#else
template <int N>
struct Pack {
    float lane[N];
    friend Pack operator+(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] += b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] *= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, float b) {
        for (int i = 0; i < N; ++i) a.lane[i] *= b;
        return a;
    }
    Pack& operator+=(const Pack& b) { return *this = *this + b; }
    friend Pack operator-(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] -= b.lane[i];
        return a;
    }
    friend Pack operator/(float a, Pack b) {
        for (int i = 0; i < N; ++i) b.lane[i] = a / b.lane[i];
        return b;
    }
    Pack& operator*=(float b) { return *this = *this * b; }
    Pack& operator*=(const Pack& b) { return *this = *this * b; }
    friend Pack larger(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
        return a;
    }
};
#define ATROUS_INLINE inline
#define ATROUS_UNROLL

template <int M, int N>
Pack<N> swapped(const Pack<N>& v) {
    Pack<N> result;
    for (int i = 0; i < N; ++i) result.lane[i] = v.lane[i ^ M];
    return result;
}
inline Pack<16> twice(const Pack<8>& v) {
    Pack<16> both;
    for (int i = 0; i < 16; ++i) both.lane[i] = v.lane[i % 8];
    return both;
}
template <int Width, int Group>
Pack<16> spread(const Pack<16>& v) {
    Pack<16> result;
    for (int i = 0; i < 16; ++i) result.lane[i] = v.lane[Group * 16 / Width + i / Width];
    return result;
}
inline Pack<8> lower_half(const Pack<16>& v) {
    Pack<8> half;
    for (int i = 0; i < 8; ++i) half.lane[i] = v.lane[i];
    return half;
}
inline Pack<8> upper_half(const Pack<16>& v) {
    Pack<8> half;
    for (int i = 0; i < 8; ++i) half.lane[i] = v.lane[i + 8];
    return half;
}
#endif

template <class P>
ATROUS_INLINE P load(const float* from) {
    P pack;
    std::memcpy(&pack, from, sizeof pack);
    return pack;
}

template <class P>
ATROUS_INLINE void store(float* to, const P& pack) {
    std::memcpy(to, &pack, sizeof pack);
}

// The values of Columns neighbouring labels: packs as wide as the instruction set has, and 8 more where they
// leave some.
template <int Columns>
struct Row {
#if defined(__AVX512F__)
    static constexpr int kWidest = 16;
#else
    static constexpr int kWidest = 8;
#endif
    static constexpr int kLanes = Columns < kWidest ? Columns : kWidest;
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
    static ATROUS_INLINE Row load(const float* from) {
        Row row;
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) row.pack[i] = ::load<Pack<kLanes>>(from + i * kLanes);
        if constexpr (kRest)
            row.rest = ::load<Pack<8>>(from + kPacks * kLanes);
        else
            row.rest = Pack<kRest ? 8 : 1>{};
        return row;
    }
    ATROUS_INLINE void store(float* to) const {
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
    ATROUS_INLINE void add_scaled(const Row& other, float factor) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] += other.pack[i] * factor;
        if constexpr (kRest) rest += other.rest * factor;
    }
};

// Rows are read in scattered order, which no processor foresees.
ATROUS_INLINE void prefetch(const float* row, std::int64_t columns) {
#if defined(__GNUC__) || defined(__clang__)
    for (std::int64_t c = 0; c < columns; c += 16) __builtin_prefetch(row + c);
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
