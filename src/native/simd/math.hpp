// exp and log in plain arithmetic, which the compiler vectorizes; for kernels.cpp alone, since each of
// its compilations needs a copy of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simd/simd.hpp"

namespace {

using std::int32_t;

// Rounds to the nearest integer, for magnitudes below 2^22, by additions, which every instruction set has.
ATROUS_INLINE float nearest(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

// 2^n for a whole number n from -126 to 127. NaN has no whole number to be turned into; this leaves any.
ATROUS_INLINE float power_of_two(float n) {
    const float shifted = n + 12582912.0f;
    std::uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;  // the last bits of the sum hold n
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// exp(x) for x <= 0, 0 under -50; relative error about 1e-7.
ATROUS_INLINE float exp_of_negative(float x) {
    const float clamped = x < -50.0f ? -50.0f : x;
    const float n = nearest(clamped * 1.44269504088896f);
    const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    float e = 1.0f / 5040;
    e = e * r + 1.0f / 720;
    e = e * r + 1.0f / 120;
    e = e * r + 1.0f / 24;
    e = e * r + 1.0f / 6;
    e = e * r + 0.5f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
    e *= power_of_two(n);
    return x < -50.0f ? 0.0f : e;
}

// exp(x) for x <= 0 in each lane, 0 under -50: 2^n times a polynomial for 2^f. The error is about 1e-7 beside
// 1, which is what counts where results are sums to 1.
template <class P>
ATROUS_INLINE P exp_of_negative_pack(const P& x) {
#if defined(ATROUS_VECTORS)
    typedef int32_t Bits __attribute__((vector_size(sizeof(P))));
    const P lowest = P{} - 50.0f;
    const P clamped = larger_pack(x, lowest);
    const P shifted = clamped * 1.44269504f + 12582912.0f;
    const P f = clamped * 1.44269504f - (shifted - 12582912.0f);
    P e = f * 1.53458124e-4f + 1.33999309e-3f;
    e = e * f + 9.61848907e-3f;
    e = e * f + 5.55032864e-2f;
    e = e * f + 2.40226462e-1f;
    e = e * f + 6.93147182e-1f;
    e = e * f + 1.0f;
    Bits n, bits;
    std::memcpy(&n, &shifted, sizeof n);
    std::memcpy(&bits, &e, sizeof bits);
    bits += n << 23;  // the last bits of the sum hold n, and it goes to the exponent
    std::memcpy(&e, &bits, sizeof e);
    return x < lowest ? P{} : e;
#else
    P e;
    for (std::size_t i = 0; i < sizeof x.lane / sizeof x.lane[0]; ++i) e.lane[i] = exp_of_negative(x.lane[i]);
    return e;
#endif
}

template <int N>
ATROUS_INLINE Lanes<N> exp_of_negative_lanes(const Lanes<N>& x) {
    return Lanes<N>::of_parts([&](int i) { return exp_of_negative_pack(x.part[i]); });
}

// log(x) for x that is normal and positive; relative error about 1e-7.
ATROUS_INLINE float log_of_normal(float x) {
    int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (bits - 0x3f3504f3) >> 23;  // so that the mantissa lies around 1
    const int32_t reduced = bits - exponent * (1 << 23);
    float m;
    std::memcpy(&m, &reduced, sizeof m);
    const float s = (m - 1.0f) / (m + 1.0f);
    const float z = s * s;
    const float series = s * z * (2.0f / 3 + z * (2.0f / 5 + z * (2.0f / 7 + z * (2.0f / 9))));
    const float n = static_cast<float>(exponent);
    return n * 0.693359375f + (2.0f * s + (series - n * 2.12194440e-4f));
}

}  // namespace
