// Compiled once for each instruction set, without fusing products into sums, which would round once less.
#include "sequential_loops.hpp"

#include <math.h>

#include "elementary.hpp"
#include "rows.hpp"

#ifndef ATROUS_INSTRUCTION_SET
#define ATROUS_INSTRUCTION_SET baseline
#endif

namespace {

using std::int64_t;
using std::uint32_t;

constexpr uint32_t kAhead = 12;  // rows between asking for one and reading it

void gather(int64_t begin, int64_t end, const uint32_t* starts, const uint32_t* points, const float* weights,
            const float* factors, const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const uint32_t last = starts[end];
        for (int64_t v = begin; v < end; ++v) {
            R sum = R::zero();
            for (uint32_t e = starts[v]; e < starts[v + 1]; ++e) {
                if (e + kAhead < last) prefetch(rows + points[e + kAhead] * stride + first, columns.count);
                R row = R::load(rows + points[e] * stride + first);
                if (factors != nullptr) row *= factors[points[e]];
                sum.add_scaled(row, weights[e]);
            }
            sum.store(out + v * stride + first);
        }
    });
}

template <bool ScaleLast>
ATROUS_INLINE void slice_rows(int64_t points, int corners, const uint32_t* indices, const float* weights,
                              float scale, const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < points; ++p) {
            if (p + 2 < points)
                for (int k = 0; k < corners; ++k)
                    prefetch(rows + indices[(p + 2) * corners + k] * stride + first, columns.count);
            R sum = R::zero();
            for (int k = 0; k < corners; ++k) {
                R row = R::load(rows + indices[p * corners + k] * stride + first);
                const float weight = weights[p * corners + k];
                if constexpr (ScaleLast) {
                    row *= weight;
                    row *= scale;
                    sum += row;
                } else {
                    sum.add_scaled(row, weight * scale);
                }
            }
            sum.store(out + p * stride + first);
        }
    });
}

void slice(int64_t points, int corners, const uint32_t* indices, const float* weights, float scale,
           const float* rows, float* out, int64_t labels, int64_t width) {
    if (labels <= 2)
        slice_rows<true>(points, corners, indices, weights, scale, rows, out, width);
    else
        slice_rows<false>(points, corners, indices, weights, scale, rows, out, width);
}

void add(int64_t points, const float* factors, const float* gains, const float* message, float* scores,
         int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const R gain = R::load(gains + first);
        for (int64_t p = 0; p < points; ++p) {
            R sum = R::load(message + p * stride + first);
            if (factors != nullptr) sum *= factors[p];
            sum *= gain;
            sum += R::load(scores + p * stride + first);
            sum.store(scores + p * stride + first);
        }
    });
}

void add_product(int64_t points, const float* factors, const float* gains, float* message, int64_t labels,
                 int64_t by_four, float* scores, int64_t width) {
    const int64_t fours = labels / 4 * 4;
    for (int64_t p = 0; p < points && factors != nullptr; ++p)
        for (int64_t b = 0; b < width; ++b) message[p * width + b] *= factors[p];
    for (int64_t p = 0; p < by_four; ++p)
        for (int64_t a = fours; a < labels; ++a) {
            const float* from = message + p * width;
            float part[4] = {};
            for (int64_t b = 0; b < fours; b += 4)
                for (int64_t l = 0; l < 4; ++l) part[l] += gains[(b + l) * width + a] * from[b + l];
            float sum = (part[0] + part[1]) + (part[2] + part[3]);
            for (int64_t b = fours; b < labels; ++b) sum += gains[b * width + a] * from[b];
            scores[p * width + a] += sum;
        }
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < points; ++p) {
            float* to = scores + p * stride;
            float kept[4];
            for (int64_t a = fours; a < labels; ++a) kept[a - fours] = to[a];
            R sum = R::zero();
            for (int64_t b = 0; b < labels; ++b)
                sum.add_scaled(R::load(gains + b * stride + first), message[p * stride + b]);
            sum += R::load(to + first);
            sum.store(to + first);
            for (int64_t a = fours; p < by_four && a < labels; ++a) to[a] = kept[a - fours];
        }
    });
}

// exp(x) for x <= 0 by the polynomial of Moshier's Cephes library, 0 under -50.
ATROUS_INLINE float exp_by_cephes(float given) {
    const float clamped = given < -50.0f ? -50.0f : given;
    const float shifted = clamped * 1.44269504088896341f + 0.5f;
    const float rounded = nearest(shifted);
    const float n = rounded - (rounded > shifted ? 1.0f : 0.0f);
    float x = clamped - n * 0.693359375f;
    x = x - n * -2.12194440e-4f;
    float e = 1.9875691500e-4f;
    e = e * x + 1.3981999507e-3f;
    e = e * x + 8.3334519073e-3f;
    e = e * x + 4.1665795894e-2f;
    e = e * x + 1.6666665459e-1f;
    e = e * x + 5.0000001201e-1f;
    e = e * (x * x) + x;
    e = e + 1.0f;
    e *= power_of_two(n);
    return given < -50.0f ? 0.0f : e;
}

// Eight at a time, then four, then one by one.
ATROUS_INLINE float sum_of(const float* row, int64_t labels) {
    const int64_t fours = labels / 4 * 4, eights = labels / 8 * 8;
    if (fours == 0) {
        float sum = row[0];
        for (int64_t c = 1; c < labels; ++c) sum += row[c];
        return sum;
    }
    Pack<4> four = load<Pack<4>>(row);
    if (fours > 4) {
        Pack<8> eight = load<Pack<8>>(row);
        for (int64_t c = 8; c < eights; c += 8) eight += load<Pack<8>>(row + c);
        float halves[8];
        store(halves, eight);
        four = load<Pack<4>>(halves) + load<Pack<4>>(halves + 4);
        if (fours > eights) four += load<Pack<4>>(row + eights);
    }
    float lanes[4];
    store(lanes, four);
    float sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    for (int64_t c = fours; c < labels; ++c) sum += row[c];
    return sum;
}

void softmax(int64_t points, float* scores, float* out, int64_t labels, int64_t width) {
    constexpr int64_t kMost = 256;
    const int64_t fours = labels / 4 * 4;
    float rest[kMost * 3];
    for (int64_t from = 0; from < points; from += kMost) {
        const int64_t count = points - from < kMost ? points - from : kMost;
        float* rows = scores + from * width;
        for (int64_t p = 0; p < count; ++p) {
            float* row = rows + p * width;
            Pack<4> most = load<Pack<4>>(row);
            for (int64_t c = 4; c < width; c += 4) most = larger_pack(most, load<Pack<4>>(row + c));
            float lanes[4];
            store(lanes, most);
            const float left = lanes[0] > lanes[1] ? lanes[0] : lanes[1];
            const float right = lanes[2] > lanes[3] ? lanes[2] : lanes[3];
            const float top = left > right ? left : right;
            for (int64_t c = 0; c < width; c += 4) store(row + c, load<Pack<4>>(row + c) - top);
            for (int64_t c = fours; c < labels; ++c) {
                const float x = row[c];
                rest[p * 3 + c - fours] = x == 0.0f ? 1.0f : x < -50.0f ? 0.0f : expf(x);
            }
        }
        for (int64_t e = 0; e < count * width; ++e) rows[e] = exp_by_cephes(rows[e]);
        for (int64_t p = 0; p < count; ++p) {
            float* row = rows + p * width;
            for (int64_t c = fours; c < labels; ++c) row[c] = rest[p * 3 + c - fours];
            const float sum = sum_of(row, labels);
            for (int64_t c = 0; c < width; ++c) out[(from + p) * width + c] = row[c] / sum;
        }
    }
}

}  // namespace

namespace atrous::ATROUS_INSTRUCTION_SET {

const SequentialLoops& sequential_loops() {
    static constexpr SequentialLoops all = {gather, slice, add, add_product, softmax};
    return all;
}

}  // namespace atrous::ATROUS_INSTRUCTION_SET
