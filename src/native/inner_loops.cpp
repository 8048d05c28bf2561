// Compiled once for each instruction set (see CMakeLists.txt). Nothing here may use a function of the
// standard library that is not inlined for certain: the linker keeps one copy of such a function for
// the whole module, and it could be the one for a processor that the user does not have.
#include "inner_loops.hpp"

#include <limits>

#include "elementary.hpp"
#include "pack.hpp"

#ifndef ATROUS_INSTRUCTION_SET
#define ATROUS_INSTRUCTION_SET baseline
#endif
#define ATROUS_TEXT(x) #x
#define ATROUS_NAME(x) ATROUS_TEXT(x)

namespace {

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint64_t;

using atrous::kMaxDimensions;
using atrous::kSimplexBlock;
using atrous::kTogether;
using atrous::LatticeGeometry;

constexpr uint32_t kAhead = 12;  // rows between asking for one and reading it

struct Block {
    float at[kMaxDimensions + 1][kSimplexBlock];
};

// The points' coordinates on the hyperplane x_0 + .. + x_d = 0 (Adams et al. 2010, section 3.1).
ATROUS_INLINE void elevate(const LatticeGeometry& lattice, const float* features, int64_t points,
                           int64_t begin, int count, Block& elevated) {
    float sum[kSimplexBlock] = {};
    for (int j = lattice.dimensions; j > 0; --j) {
        const float* feature = features + (j - 1) * points + begin;
        float scaled[kSimplexBlock];
        for (int p = 0; p < count; ++p) scaled[p] = feature[p];
        for (int p = count; p < kSimplexBlock; ++p) scaled[p] = scaled[count - 1];
        for (int p = 0; p < kSimplexBlock; ++p) {
            scaled[p] *= lattice.scale[j - 1];
            elevated.at[j][p] = sum[p] - static_cast<float>(j) * scaled[p];
            sum[p] += scaled[p];
        }
    }
    for (int p = 0; p < kSimplexBlock; ++p) elevated.at[0][p] = sum[p];
}

void extent(const LatticeGeometry& lattice, const float* features, int64_t points, int64_t begin, int64_t end,
            float* lowest, float* highest) {
    const int d = lattice.dimensions;
    const float inverse = 1.0f / static_cast<float>(d + 1);
    Block elevated;
    for (int64_t b = begin; b < end; b += kSimplexBlock) {
        const int count = static_cast<int>(end - b < kSimplexBlock ? end - b : kSimplexBlock);
        elevate(lattice, features, points, b, count, elevated);
        for (int i = 0; i < d; ++i) {
            float low = lowest[i], high = highest[i];
            for (int p = 0; p < kSimplexBlock; ++p) {
                const float cell = elevated.at[i][p] * inverse;
                low = cell < low ? cell : low;
                high = cell > high ? cell : high;
            }
            lowest[i] = low;
            highest[i] = high;
        }
    }
}

// Rounds to the nearest vertex whose remainder is 0, ranks the differences, which gives the simplex, and
// reads the barycentric weights off the sorted differences (Adams et al. 2010, section 3.1 to 3.2).
void simplex(const LatticeGeometry& lattice, const float* features, int64_t points, int64_t begin, int count,
             uint64_t* keys, float* weights) {
    const int d = lattice.dimensions;
    const float side = static_cast<float>(d + 1), inverse = 1.0f / side;
    Block elevated, cell, difference;
    int32_t rank[kMaxDimensions + 1][kSimplexBlock] = {};
    float total[kSimplexBlock] = {};

    elevate(lattice, features, points, begin, count, elevated);
    for (int i = 0; i <= d; ++i)
        for (int p = 0; p < kSimplexBlock; ++p) {
            cell.at[i][p] = nearest(elevated.at[i][p] * inverse);
            difference.at[i][p] = elevated.at[i][p] - cell.at[i][p] * side;
            total[p] += cell.at[i][p];
        }
    for (int i = 0; i < d; ++i)
        for (int j = i + 1; j <= d; ++j)
            for (int p = 0; p < kSimplexBlock; ++p) {
                const int32_t less = difference.at[i][p] < difference.at[j][p] ? 1 : 0;
                rank[i][p] += less;
                rank[j][p] += 1 - less;
            }
    for (int i = 0; i <= d; ++i)
        for (int p = 0; p < kSimplexBlock; ++p) {
            const int32_t shifted = rank[i][p] + static_cast<int32_t>(total[p]);
            const int32_t wrap = shifted < 0 ? 1 : shifted > d ? -1 : 0;
            rank[i][p] = shifted + wrap * (d + 1);
            cell.at[i][p] += static_cast<float>(wrap);
            difference.at[i][p] = (elevated.at[i][p] - cell.at[i][p] * side) * inverse;
        }

    float first[kSimplexBlock] = {}, sorted[kSimplexBlock], previous[kSimplexBlock] = {};
    for (int k = 0; k <= d; ++k) {
        for (int p = 0; p < kSimplexBlock; ++p) sorted[p] = 0.0f;
        for (int i = 0; i <= d; ++i)
            for (int p = 0; p < kSimplexBlock; ++p)
                sorted[p] += rank[i][p] == d - k ? difference.at[i][p] : 0.0f;
        for (int p = 0; p < kSimplexBlock; ++p) {
            const float weight = sorted[p] - previous[p];
            weights[k * kSimplexBlock + p] = weight > 0.0f ? weight : 0.0f;
            previous[p] = sorted[p];
            first[p] = k == 0 ? sorted[p] : first[p];
        }
    }
    for (int p = 0; p < kSimplexBlock; ++p) {
        const float weight = first[p] + (1.0f - previous[p]);
        weights[p] = weight > 0.0f ? weight : 0.0f;
    }

    // From one vertex of a simplex to the next, the remainder grows by 1, and the coordinate of the
    // next lower rank falls back by one cell.
    for (int p = 0; p < count; ++p) {
        uint64_t stride_of_rank[kMaxDimensions + 1];
        uint64_t key = 0;
        for (int i = 0; i < d; ++i) {
            const int32_t number = static_cast<int32_t>(cell.at[i][p]) - lattice.origin[i];
            key += static_cast<uint64_t>(static_cast<int64_t>(number)) * lattice.stride[i];
        }
        for (int i = 0; i <= d; ++i) stride_of_rank[rank[i][p]] = lattice.stride[i];
        keys[p] = key;
        for (int k = 1; k <= d; ++k) {
            key += 1 - stride_of_rank[d - k + 1];
            keys[k * kSimplexBlock + p] = key;
        }
    }
}

void gather(int64_t begin, int64_t end, const uint32_t* starts, const uint32_t* indices, const float* weights,
            const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        const uint32_t last = starts[end];
        for (int64_t v = begin; v < end; ++v) {
            R sum = R::zero();
            for (uint32_t e = starts[v]; e < starts[v + 1]; ++e) {
                if (e + kAhead < last) prefetch(rows + indices[e + kAhead] * width + first, columns.count);
                sum.add_scaled(R::load(rows + indices[e] * width + first), weights[e]);
            }
            sum.store(out + v * width + first);
        }
    });
}

void blur(int64_t begin, int64_t end, const uint32_t* neighbours, const float* rows, float* out,
          int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        for (int64_t v = begin; v < end; ++v) {
            if (v + kAhead / 2 < end) {
                prefetch(rows + neighbours[2 * v + kAhead] * width + first, columns.count);
                prefetch(rows + neighbours[2 * v + kAhead + 1] * width + first, columns.count);
            }
            R sum = R::load(rows + neighbours[2 * v] * width + first);
            sum += R::load(rows + neighbours[2 * v + 1] * width + first);
            sum *= 0.5f;
            sum += R::load(rows + v * width + first);
            sum.store(out + v * width + first);
        }
    });
}

void slice(int64_t pixels, int count, const uint32_t* indices, const float* weights, float scale,
           const float* rows, float* out, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < pixels; ++p) {
            R sum = R::zero();
            if (p + 2 < pixels)
                for (int k = 0; k < count; ++k)
                    prefetch(rows + indices[(p + 2) * count + k] * width + first, columns.count);
            for (int k = 0; k < count; ++k)
                sum.add_scaled(R::load(rows + indices[p * count + k] * width + first),
                               weights[p * count + k]);
            sum *= scale;
            sum.store(out + p * width + first);
        }
    });
}

// The convolution of Together neighbouring positions: each row read serves all of them.
template <int Together>
void convolve_group(const float* rows, int64_t length, int64_t inner, int64_t i, const float* taps,
                    int64_t radius, float* out, int64_t stride) {
    const int64_t from = i < radius ? 0 : i - radius;
    const int64_t last = i + Together - 1 + radius;
    const int64_t to = last < length ? last : length - 1;
    for_columns(inner, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        R sum[Together];
        ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g] = R::zero();
        for (int64_t s = from; s <= to; ++s) {
            const R row = R::load(rows + s * inner + first);
            const float* tap = taps + (s - i);
            ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g].add_scaled(row, tap[-g]);
        }
        ATROUS_UNROLL for (int g = 0; g < Together; ++g) sum[g].store(out + g * stride + first);
    });
}

void convolve(const float* rows, int64_t length, int64_t inner, int64_t begin, int64_t end, const float* taps,
              int64_t radius, float* out, int64_t stride) {
    int64_t i = begin;
    for (; i + kTogether <= end; i += kTogether, out += kTogether * stride)
        convolve_group<kTogether>(rows, length, inner, i, taps, radius, out, stride);
    for (; i < end; ++i, out += stride) convolve_group<1>(rows, length, inner, i, taps, radius, out, stride);
}

void brute_force(int dimensions, const float* features, int64_t points, int64_t begin, int64_t end,
                 const float* rows, float* out, int64_t width) {
    constexpr int64_t kRun = 128;  // sums over runs first: N small terms one by one would lose digits
    float kernel[kRun];
    for (int64_t p = begin; p < end; ++p) {
        float* result = out + (p - begin) * width;
        for (int64_t c = 0; c < width; ++c) result[c] = 0.0f;
        for (int64_t j = 0; j < points; j += kRun) {
            const int64_t count = points - j < kRun ? points - j : kRun;
            for (int64_t r = 0; r < kRun; ++r) kernel[r] = 0.0f;
            for (int i = 0; i < dimensions; ++i) {
                const float* feature = features + i * points;
                const float here = feature[p];
                for (int64_t r = 0; r < count; ++r)
                    kernel[r] += (feature[j + r] - here) * (feature[j + r] - here);
            }
            for (int64_t r = 0; r < kRun; ++r) kernel[r] = exp_of_negative(-0.5f * kernel[r]);
            for_columns(width, [&](auto columns, int64_t first) {
                using R = Row<decltype(columns)::count>;
                R sum = R::zero();
                for (int64_t r = 0; r < count; ++r)
                    sum.add_scaled(R::load(rows + (j + r) * width + first), kernel[r]);
                sum += R::load(result + first);
                sum.store(result + first);
            });
        }
    }
}

void scores(bool energies, const float* const* planes, int64_t labels, int64_t stride, int64_t begin,
            int64_t count, float* rows, int64_t width) {
    constexpr int64_t kRun = 64;
    constexpr float kSmallestNormal = 1.17549435e-38f;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    float values[kRun];
    for (int64_t b = 0; b < count; b += kRun) {
        const int64_t run = count - b < kRun ? count - b : kRun;
        for (int64_t c = 0; c < width; ++c) {
            if (c < labels) {
                const float* plane = planes[c] + (begin + b) * stride;
                if (stride == 1)
                    for (int64_t p = 0; p < run; ++p) values[p] = plane[p];
                else
                    for (int64_t p = 0; p < run; ++p) values[p] = plane[p * stride];
                if (energies) {
                    for (int64_t p = 0; p < run; ++p) values[p] = -values[p];
                } else {
                    for (int64_t p = run; p < kRun; ++p) values[p] = 1.0f;
                    for (int64_t p = 0; p < kRun; ++p)
                        values[p] = log_of_normal(values[p] < kSmallestNormal ? kSmallestNormal : values[p]);
                }
            } else {
                for (int64_t p = 0; p < run; ++p) values[p] = -kInfinity;
            }
            for (int64_t p = 0; p < run; ++p) rows[(b + p) * width + c] = values[p];
        }
    }
}

void scale(int64_t count, const float* factors, const float* input, float* rows, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < count; ++p) {
            R row = R::load(input + p * width + first);
            row *= factors[p];
            row.store(rows + p * width + first);
        }
    });
}

void add(int64_t count, const float* factors, const float* gains, const float* message, float* rows,
         int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        const R gain = R::load(gains + first);
        for (int64_t p = 0; p < count; ++p) {
            R sum = R::load(message + p * width + first);
            sum *= gain;
            sum *= factors[p];
            sum += R::load(rows + p * width + first);
            sum.store(rows + p * width + first);
        }
    });
}

void add_product(int64_t count, const float* factors, const float* gains, const float* message,
                 int64_t labels, float* rows, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < count; ++p) {
            R sum = R::zero();
            for (int64_t b = 0; b < labels; ++b)
                sum.add_scaled(R::load(gains + b * width + first), message[p * width + b]);
            sum *= factors[p];
            sum += R::load(rows + p * width + first);
            sum.store(rows + p * width + first);
        }
    });
}

// Folds the lanes of `values` in halves, so that the order of a sum is the same wherever it is taken.
template <int Lanes, class Fold>
ATROUS_INLINE float fold(float* values, const Fold& with) {
    for (int half = Lanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) values[l] = with(values[l], values[l + half]);
    return values[0];
}

template <int Lanes>
void softmax_rows(int64_t count, float* scores, float* probabilities, int64_t width, float* largest,
                  float* least_winner, float* change) {
    using P = Pack<Lanes>;
    float lanes[Lanes];
    for (int64_t p = 0; p < count; ++p) {
        float* row = scores + p * width;
        P highest = load<P>(row);
        for (int64_t c = Lanes; c < width; c += Lanes) highest = larger(highest, load<P>(row + c));
        store(lanes, highest);
        const float top = fold<Lanes>(lanes, [](float a, float b) { return a > b ? a : b; });
        for (int64_t c = 0; c < width; c += Lanes) store(row + c, load<P>(row + c) - top);
    }
    for (int64_t e = 0; e < count * width; ++e) scores[e] = exp_of_negative(scores[e]);
    float least = *least_winner;
    for (int64_t p = 0; p < count; ++p) {
        float* row = scores + p * width;
        P sum = load<P>(row);
        for (int64_t c = Lanes; c < width; c += Lanes) sum += load<P>(row + c);
        store(lanes, sum);
        const float inverse = 1.0f / fold<Lanes>(lanes, [](float a, float b) { return a + b; });
        least = inverse < least ? inverse : least;  // the likeliest label's exponential is 1
        for (int64_t c = 0; c < width; c += Lanes) store(row + c, load<P>(row + c) * inverse);
    }
    *least_winner = least;
    for (int64_t c = 0; c < width; c += Lanes) {
        P most = load<P>(largest + c);
        for (int64_t p = 0; p < count; ++p) most = larger(most, load<P>(scores + p * width + c));
        store(largest + c, most);
    }
    if (change != nullptr) {
        float most = *change;
        for (int64_t e = 0; e < count * width; ++e) {
            const float difference = scores[e] - probabilities[e];
            const float distance = difference < 0.0f ? -difference : difference;
            most = distance > most ? distance : most;
        }
        *change = most;
    }
    for (int64_t e = 0; e < count * width; ++e) probabilities[e] = scores[e];
}

void softmax(int64_t count, float* scores, float* probabilities, int64_t width, float* largest,
             float* least_winner, float* change) {
    if (width == 4)
        softmax_rows<4>(count, scores, probabilities, width, largest, least_winner, change);
    else
        softmax_rows<8>(count, scores, probabilities, width, largest, least_winner, change);
}

}  // namespace

namespace atrous::ATROUS_INSTRUCTION_SET {

const InnerLoops& loops() {
    static constexpr InnerLoops all = {
        ATROUS_NAME(ATROUS_INSTRUCTION_SET),
        extent,
        simplex,
        gather,
        blur,
        slice,
        convolve,
        brute_force,
        scores,
        scale,
        add,
        add_product,
        softmax,
    };
    return all;
}

}  // namespace atrous::ATROUS_INSTRUCTION_SET
