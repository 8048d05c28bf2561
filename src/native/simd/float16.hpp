// float16 values (F16C): conversion, load and store; part of kernels.cpp.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd/simd.hpp"

#if defined(ATROUS_VECTORS) && defined(__F16C__) && defined(__AVX__)
#define ATROUS_HALVES
#include <immintrin.h>
#endif

namespace {

// IEEE 754 binary16: 11 bits of precision, up to 65504.
struct Half {
    std::uint16_t bits;
};

ATROUS_INLINE float as_float(float value) {
    return value;
}
ATROUS_INLINE void set(float& to, float value) {
    to = value;
}

#if defined(ATROUS_HALVES)
ATROUS_INLINE float as_float(Half value) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value.bits)));
}
ATROUS_INLINE void set(Half& to, float value) {
    to.bits = static_cast<std::uint16_t>(
        _mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT)));
}

template <class P>
ATROUS_INLINE P load(const Half* from) {
    constexpr int kLanes = sizeof(P) / sizeof(float);
    P pack;
    if constexpr (kLanes == 4) {
        const __m128 lanes = _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
        std::memcpy(&pack, &lanes, sizeof pack);
    } else if constexpr (kLanes == 8) {
        const __m256 lanes = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        std::memcpy(&pack, &lanes, sizeof pack);
#if defined(__AVX512F__)
    } else if constexpr (kLanes == 16) {
        const __m512 lanes =
            _mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
        std::memcpy(&pack, &lanes, sizeof pack);
#endif
    } else {
        static_assert(kLanes == 1);
        const float lane = as_float(*from);
        std::memcpy(&pack, &lane, sizeof pack);
    }
    return pack;
}

template <class P>
ATROUS_INLINE void store(Half* to, const P& pack) {
    constexpr int kLanes = sizeof(P) / sizeof(float);
    if constexpr (kLanes == 4) {
        __m128 lanes;
        std::memcpy(&lanes, &pack, sizeof pack);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_cvtps_ph(lanes, _MM_FROUND_TO_NEAREST_INT));
    } else if constexpr (kLanes == 8) {
        __m256 lanes;
        std::memcpy(&lanes, &pack, sizeof pack);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(lanes, _MM_FROUND_TO_NEAREST_INT));
#if defined(__AVX512F__)
    } else if constexpr (kLanes == 16) {
        __m512 lanes;
        std::memcpy(&lanes, &pack, sizeof pack);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                            _mm512_maskz_cvtps_ph(0xFFFF, lanes, _MM_FROUND_TO_NEAREST_INT));
#endif
    } else {
        static_assert(kLanes == 1);
        float lane;
        std::memcpy(&lane, &pack, sizeof lane);
        set(*to, lane);
    }
}
#endif

}  // namespace
