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
    friend Pack operator-(Pack a, float b) {
        for (int i = 0; i < N; ++i) a.lane[i] -= b;
        return a;
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

// The values of Columns neighbouring labels.
template <int Columns>
struct Row {
#if defined(__AVX512F__)
    static constexpr int kLanes = Columns % 16 == 0 ? 16 : Columns < 8 ? 4 : 8;
#else
    static constexpr int kLanes = Columns < 8 ? 4 : 8;
#endif
    static constexpr int kPacks = Columns / kLanes;
    Pack<kLanes> pack[kPacks];

    static ATROUS_INLINE Row zero() {
        Row row;
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) row.pack[i] = Pack<kLanes>{};
        return row;
    }
    static ATROUS_INLINE Row load(const float* from) {
        Row row;
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) row.pack[i] = ::load<Pack<kLanes>>(from + i * kLanes);
        return row;
    }
    ATROUS_INLINE void store(float* to) const {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i)::store(to + i * kLanes, pack[i]);
    }
    ATROUS_INLINE Row& operator+=(const Row& other) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] += other.pack[i];
        return *this;
    }
    ATROUS_INLINE Row& operator*=(float factor) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] *= factor;
        return *this;
    }
    ATROUS_INLINE Row& operator*=(const Row& other) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] *= other.pack[i];
        return *this;
    }
    ATROUS_INLINE void add_scaled(const Row& other, float factor) {
        ATROUS_UNROLL for (int i = 0; i < kPacks; ++i) pack[i] += other.pack[i] * factor;
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

// Calls body(Columns<n>, first) for pieces of fixed size that make up `width` columns.
template <class Body>
ATROUS_INLINE void for_columns(std::int64_t width, const Body& body) {
    std::int64_t first = 0;
    for (; width - first >= 32; first += 32) body(Columns<32>{}, first);
    if (width - first >= 24) {
        body(Columns<24>{}, first);
        first += 24;
    } else if (width - first >= 16) {
        body(Columns<16>{}, first);
        first += 16;
    } else if (width - first >= 8) {
        body(Columns<8>{}, first);
        first += 8;
    }
    if (width - first >= 4) body(Columns<4>{}, first);
}

}  // namespace
