// A few floats side by side, as GCC's and Clang's vector types where there are such. Part of
// kernels.cpp: everything is local to it, so that the linker cannot mix instruction sets.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__GNUC__) || defined(__clang__)
#define ATROUS_VECTORS
#define ATROUS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define ATROUS_UNROLL _Pragma("unroll")
#else
#define ATROUS_UNROLL _Pragma("GCC unroll 8")
#endif
#else
#define ATROUS_INLINE inline
#define ATROUS_UNROLL
#endif

namespace {

// Floats that one register holds. Wider vector types exist, but compilers take them apart badly.
#if defined(__AVX512F__)
constexpr int kNative = 16;
#elif defined(__AVX__)
constexpr int kNative = 8;
#else
constexpr int kNative = 4;
#endif

#if defined(ATROUS_VECTORS)
template <int N>
struct PackOf {
    typedef float Type __attribute__((vector_size(N * sizeof(float))));
};
template <int N>
using Pack = typename PackOf<N>::Type;

template <class P>
ATROUS_INLINE P larger_pack(const P& a, const P& b) {
    return a > b ? a : b;
}

template <int M, int N, int... I>
ATROUS_INLINE Pack<N> swapped_pack(const Pack<N>& v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, (I ^ M)...);
}
#else
template <int N>
struct Pack {
    float lane[N];
    friend Pack operator+(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] += b.lane[i];
        return a;
    }
    friend Pack operator-(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] -= b.lane[i];
        return a;
    }
    friend Pack operator*(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] *= b.lane[i];
        return a;
    }
    friend Pack operator/(Pack a, const Pack& b) {
        for (int i = 0; i < N; ++i) a.lane[i] /= b.lane[i];
        return a;
    }
    friend Pack operator+(Pack a, float b) {
        for (int i = 0; i < N; ++i) a.lane[i] += b;
        return a;
    }
    friend Pack operator-(Pack a, float b) { return a + -b; }
    friend Pack operator*(Pack a, float b) {
        for (int i = 0; i < N; ++i) a.lane[i] *= b;
        return a;
    }
    Pack& operator+=(const Pack& b) { return *this = *this + b; }
    Pack& operator*=(float b) { return *this = *this * b; }
    Pack& operator*=(const Pack& b) { return *this = *this * b; }
};

template <int N>
Pack<N> larger_pack(Pack<N> a, const Pack<N>& b) {
    for (int i = 0; i < N; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}

template <int M, int N, int... I>
Pack<N> swapped_pack(const Pack<N>& v, std::integer_sequence<int, I...>) {
    return {v.lane[I ^ M]...};
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

// N floats in as many registers as that takes.
template <int N>
struct Lanes {
    static constexpr int kLanes = N < kNative ? N : kNative;
    static constexpr int kParts = N / kLanes;
    Pack<kLanes> part[kParts];

    // Calls make(i) for each part.
    template <class Make>
    static ATROUS_INLINE Lanes of_parts(const Make& make) {
        Lanes lanes;
        ATROUS_UNROLL for (int i = 0; i < kParts; ++i) lanes.part[i] = make(i);
        return lanes;
    }
    static ATROUS_INLINE Lanes all(float value) {
        return of_parts([&](int) { return Pack<kLanes>{} + value; });
    }
    static ATROUS_INLINE Lanes load(const float* from) {
        return of_parts([&](int i) { return ::load<Pack<kLanes>>(from + i * kLanes); });
    }
    ATROUS_INLINE void store(float* to) const {
        ATROUS_UNROLL for (int i = 0; i < kParts; ++i)::store(to + i * kLanes, part[i]);
    }
    friend ATROUS_INLINE Lanes operator+(const Lanes& a, const Lanes& b) {
        return of_parts([&](int i) { return a.part[i] + b.part[i]; });
    }
    friend ATROUS_INLINE Lanes operator-(const Lanes& a, const Lanes& b) {
        return of_parts([&](int i) { return a.part[i] - b.part[i]; });
    }
    friend ATROUS_INLINE Lanes operator*(const Lanes& a, const Lanes& b) {
        return of_parts([&](int i) { return a.part[i] * b.part[i]; });
    }
    friend ATROUS_INLINE Lanes operator*(const Lanes& a, float b) {
        return of_parts([&](int i) { return a.part[i] * b; });
    }
    friend ATROUS_INLINE Lanes inverse(const Lanes& a) {
        return of_parts([&](int i) { return (Pack<kLanes>{} + 1.0f) / a.part[i]; });
    }
    friend ATROUS_INLINE Lanes larger(const Lanes& a, const Lanes& b) {
        return of_parts([&](int i) { return larger_pack(a.part[i], b.part[i]); });
    }
    ATROUS_INLINE void add_scaled(const Lanes& other, float factor) {
        ATROUS_UNROLL for (int i = 0; i < kParts; ++i) part[i] += other.part[i] * factor;
    }

    // The lanes whose numbers differ in the bit M change places.
    template <int M>
    ATROUS_INLINE Lanes swapped() const {
        if constexpr (M >= kLanes)
            return of_parts([&](int i) { return part[i ^ (M / kLanes)]; });
        else
            return of_parts([&](int i) {
                return swapped_pack<M, kLanes>(part[i], std::make_integer_sequence<int, kLanes>{});
            });
    }
};

// The first and the second 8 of 16, and 8 twice.
template <int Half>
ATROUS_INLINE Lanes<8> half(const Lanes<16>& v) {
#if defined(ATROUS_VECTORS) && defined(__AVX512F__)
    const auto& whole = v.part[0];
    constexpr int S = Half * 8;
    return {{__builtin_shufflevector(whole, whole, S, S + 1, S + 2, S + 3, S + 4, S + 5, S + 6, S + 7)}};
#else
    constexpr int kParts = Lanes<8>::kParts;
    return Lanes<8>::of_parts([&](int i) { return v.part[Half * kParts + i]; });
#endif
}
ATROUS_INLINE Lanes<16> twice(const Lanes<8>& v) {
#if defined(ATROUS_VECTORS) && defined(__AVX512F__)
    const auto& once = v.part[0];
    return {{__builtin_shufflevector(once, once, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7)}};
#else
    constexpr int kParts = Lanes<8>::kParts;
    return Lanes<16>::of_parts([&](int i) { return v.part[i % kParts]; });
#endif
}

// The Group-th part of 16 factors, each for Width neighboring lanes; Width is 4 or 8.
template <int Width, int Group>
ATROUS_INLINE Lanes<16> spread(const float* factors) {
    constexpr int F = Group * 16 / Width;
#if defined(ATROUS_VECTORS) && defined(__AVX512F__)
    const Pack<16> v = load<Pack<16>>(factors);
    constexpr int S = Width == 4 ? 1 : 0;  // the second half of a group of 8 is of the same row
    return {{__builtin_shufflevector(v, v, F, F, F, F, F + S, F + S, F + S, F + S, F + 1 + S, F + 1 + S,
                                     F + 1 + S, F + 1 + S, F + 1 + 2 * S, F + 1 + 2 * S, F + 1 + 2 * S,
                                     F + 1 + 2 * S)}};
#else
    constexpr int kLanes = Lanes<16>::kLanes;
    return Lanes<16>::of_parts([&](int i) {
        const float* first = factors + F + i * kLanes / Width;
#if defined(ATROUS_VECTORS) && defined(__AVX__)
        if constexpr (Width == 4)
            return __builtin_shufflevector(Pack<8>{} + first[0], Pack<8>{} + first[1], 0, 1, 2, 3, 12, 13, 14,
                                           15);
#endif
        return Pack<kLanes>{} + *first;
    });
#endif
}

}  // namespace
