// Softmax kernels: unary term to scores, scores plus messages, probabilities; part of kernels.cpp.
#pragma once

#include <limits>

#include "simd/math.hpp"
#include "simd/rows.hpp"

namespace {

using std::int32_t;
using std::int64_t;

constexpr int64_t kRun = 256;  // points computed together, label by label

// Length of a run, rounded up to whole packs.
ATROUS_INLINE int64_t padded_run(int64_t count) {
    return (count + 15) / 16 * 16;
}

ATROUS_INLINE void copy_values(const float* plane, int64_t stride, int64_t count, float* values) {
    if (stride == 1)
        for (int64_t p = 0; p < count; ++p) values[p] = plane[p];
    else
        for (int64_t p = 0; p < count; ++p) values[p] = plane[p * stride];
}

ATROUS_INLINE void read_plane(const float* plane, int64_t stride, int64_t count, float fill, float* values) {
    copy_values(plane, stride, count, values);
    for (int64_t p = count; p < padded_run(count); ++p) values[p] = fill;
}

// Returns the values of some lines in one array of whole packs: in the plane, or copied and padded with
// `fill`.
ATROUS_INLINE const float* lines_of_plane(const float* plane, int64_t stride, int64_t count, int64_t lines,
                                          int64_t line, float fill, float* values) {
    if (stride == 1 && lines == 1 && count % 16 == 0) return plane;
    for (int64_t l = 0; l < lines; ++l)
        copy_values(plane + l * line * stride, stride, count, values + l * count);
    for (int64_t p = lines * count; p < padded_run(lines * count); ++p) values[p] = fill;
    return values;
}

// Raises or lowers top[p] to the values of a label; returns nonzero if a value is outside of lowest to
// highest.
ATROUS_INLINE int32_t fold_top(bool energies, const float* values, int64_t filled, float lowest,
                               float highest, float* top) {
    int32_t invalid = 0;
    for (int64_t p = 0; p < filled; ++p) {
        invalid |= (values[p] >= lowest ? 0 : 1) | (values[p] <= highest ? 0 : 1);
    }
    if (energies)
        for (int64_t p = 0; p < filled; ++p) top[p] = values[p] < top[p] ? values[p] : top[p];
    else
        for (int64_t p = 0; p < filled; ++p) top[p] = values[p] > top[p] ? values[p] : top[p];
    return invalid;
}

// Returns a label's largest ratio to the most probable label, with 1 / top[p] in `inverse` for probabilities.
ATROUS_INLINE float largest_ratio(bool energies, const float* values, int64_t filled, float highest,
                                  const float* top, const float* inverse) {
    using P = Lanes<16>;
    P most = P::all(-2.0f * highest);
    for (int64_t p = 0; p < filled; p += 16) {
        const P value = P::load(values + p);
        most = larger(most, energies ? P::load(top + p) - value : value * P::load(inverse + p));
    }
    float lanes[16];
    most.store(lanes);
    float best = lanes[0];
    for (int l = 1; l < 16; ++l) best = lanes[l] > best ? lanes[l] : best;
    return energies ? exp_of_negative(best < 0.0f ? best : 0.0f) : best;
}

// Cuts the lines into runs of up to kRun points: pieces of a line, or several short lines together. Reads
// each run twice: first for the most probable label of each point, then for each label's ratio to it.
bool scan_unary(bool energies, const float* const* planes, int64_t labels, int64_t stride, int64_t begin,
                int64_t count, int64_t lines, int64_t line, float lowest, float highest, float* largest) {
    float copied[kRun], top[kRun], inverse[kRun];
    int32_t invalid = 0;
    bool nothing = false;  // whether all probabilities of a point are 0
    // Lines that can be read in packs without a copy are not combined.
    const bool packs = stride == 1 && count % 16 == 0;
    const int64_t together = count < kRun && !packs ? kRun / count : 1, pieces = (count + kRun - 1) / kRun;
    for (int64_t task = 0; task < (lines + together - 1) / together * pieces; ++task) {
        const int64_t y = task / pieces * together, x = task % pieces * kRun;
        const int64_t tall = lines - y < together ? lines - y : together;
        const int64_t wide = count - x < kRun ? count - x : kRun;
        const int64_t run = wide * tall, filled = padded_run(run), at = (begin + y * line + x) * stride;
        for (int64_t p = 0; p < filled; ++p) top[p] = energies ? highest : 0.0f;
        for (int64_t c = 0; c < labels; ++c) {
            const float* values = lines_of_plane(planes[c] + at, stride, wide, tall, line, highest, copied);
            if (stride == 1 && y + tall < lines) prefetch(planes[c] + at + tall * line, wide);
            invalid |= fold_top(energies, values, filled, lowest, highest, top);
        }
        if (invalid != 0) return false;
        if (!energies) {
            for (int64_t p = 0; p < filled; ++p) inverse[p] = top[p] > 0.0f ? 1.0f / top[p] : 0.0f;
            for (int64_t p = 0; p < run; ++p) nothing |= !(top[p] > 0.0f);
        }
        for (int64_t c = 0; c < labels; ++c) {
            // Padding with a probability of 0.
            const float* values = lines_of_plane(planes[c] + at, stride, wide, tall, line,
                                                 energies ? 3.0f * highest : 0.0f, copied);
            const float best = largest_ratio(energies, values, filled, highest, top, inverse);
            largest[c] = best > largest[c] ? best : largest[c];
        }
    }
    // If no label of a point is probable, each is as probable as any other.
    for (int64_t c = 0; nothing && c < labels; ++c) largest[c] = 1.0f;
    return true;
}

void scores(bool energies, const float* const* planes, int64_t labels, int64_t stride, int64_t begin,
            int64_t count, float* rows, int64_t width) {
    constexpr float kSmallestNormal = 1.17549435e-38f;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    float values[kRun];
    for (int64_t b = 0; b < count; b += kRun) {
        const int64_t run = count - b < kRun ? count - b : kRun, filled = padded_run(run);
        for (int64_t c = 0; c < width; ++c) {
            if (c < labels) {
                read_plane(planes[c] + (begin + b) * stride, stride, run, 1.0f, values);
                if (energies)
                    for (int64_t p = 0; p < filled; ++p) values[p] = -values[p];
                else
                    for (int64_t p = 0; p < filled; ++p)
                        values[p] = log_of_normal(values[p] < kSmallestNormal ? kSmallestNormal : values[p]);
            } else {
                for (int64_t p = 0; p < filled; ++p) values[p] = -kInfinity;
            }
            for (int64_t p = 0; p < run; ++p) rows[(b + p) * width + c] = values[p];
        }
    }
}

void scale(int64_t count, const float* factors, const float* input, float* rows, int64_t width) {
    if (width == 1) {  // rows form packs
        for (int64_t p = 0; p < count; ++p) rows[p] = factors[p] * input[p];
        return;
    }
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < count; ++p) {
            R row = R::load(input + p * stride + first);
            row *= factors[p];
            row.store(rows + p * stride + first);
        }
    });
}

// Adds 16 narrow rows at a time; returns the number of rows done.
template <int Width>
ATROUS_INLINE int64_t add_narrow(int64_t count, const float* factors, const float* gains,
                                 const float* message, const float* base, float* rows) {
    float repeated[16];
    for (int l = 0; l < 16; ++l) repeated[l] = gains[l % Width];
    const Lanes<16> gain = Lanes<16>::load(repeated);
    const auto add_pack = [&](int64_t at, const Lanes<16>& factor) {
        const Lanes<16> sum = Lanes<16>::load(message + at) * factor * gain;
        (Lanes<16>::load(base + at) + sum).store(rows + at);
    };
    int64_t p = 0;
    for (; p + 16 <= count; p += 16) {
        add_pack(p * Width, spread<Width, 0>(factors + p));
        add_pack(p * Width + 16, spread<Width, 1>(factors + p));
        add_pack(p * Width + 32, spread<Width, 2>(factors + p));
        add_pack(p * Width + 48, spread<Width, 3>(factors + p));
        if constexpr (Width == 8) {
            add_pack(p * Width + 64, spread<Width, 4>(factors + p));
            add_pack(p * Width + 80, spread<Width, 5>(factors + p));
            add_pack(p * Width + 96, spread<Width, 6>(factors + p));
            add_pack(p * Width + 112, spread<Width, 7>(factors + p));
        }
    }
    return p;
}

void add(int64_t count, const float* factors, const float* gains, const float* message, const float* base,
         float* rows, int64_t width) {
    int64_t done = 0;
    if (width == 4) done = add_narrow<4>(count, factors, gains, message, base, rows);
    if (width == 8) done = add_narrow<8>(count, factors, gains, message, base, rows);
    for (; width == 1 && done + 16 <= count; done += 16) {
        Lanes<16> sum = Lanes<16>::load(base + done);
        sum.add_scaled(Lanes<16>::load(message + done) * Lanes<16>::load(factors + done), gains[0]);
        sum.store(rows + done);
    }
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        const R gain = R::load(gains + first);
        for (int64_t p = done; p < count; ++p) {
            R sum = R::load(message + p * stride + first);
            sum *= factors[p];
            sum *= gain;
            sum += R::load(base + p * stride + first);
            sum.store(rows + p * stride + first);
        }
    });
}

void add_product(int64_t count, const float* factors, const float* gains, const float* message,
                 int64_t labels, const float* base, float* rows, int64_t width) {
    for_columns(width, [&](auto columns, int64_t first, auto stride) {
        using R = Row<decltype(columns)::count>;
        for (int64_t p = 0; p < count; ++p) {
            R sum = R::zero();
            for (int64_t b = 0; b < labels; ++b)
                sum.add_scaled(R::load(gains + b * stride + first), message[p * width + b]);
            sum *= factors[p];
            sum += R::load(base + p * stride + first);
            sum.store(rows + p * stride + first);
        }
    });
}

struct Larger {
    template <class P>
    ATROUS_INLINE P operator()(const P& a, const P& b) const {
        return larger(a, b);
    }
};
struct Plus {
    template <class P>
    ATROUS_INLINE P operator()(const P& a, const P& b) const {
        return a + b;
    }
};

// Folds each group of neighboring lanes, and writes the result to all its lanes.
template <int Group, class P, class Fold>
ATROUS_INLINE P folded(P v, const Fold& fold) {
    if constexpr (Group >= 8) v = fold(v, v.template swapped<4>());
    v = fold(v, v.template swapped<2>());
    return fold(v, v.template swapped<1>());
}

// Largest exponential of each column over all rows: its largest ratio to the row's largest.
template <int N>
struct Extremes {
    Lanes<N> largest = Lanes<N>::all(0.0f);

    ATROUS_INLINE void fold_into(float* of_columns, int64_t columns) const {
        float lanes[N];
        largest.store(lanes);
        for (int64_t l = 0; l < N; ++l)
            of_columns[l % columns] = lanes[l] > of_columns[l % columns] ? lanes[l] : of_columns[l % columns];
    }
};

// Softmax of Floats / Width rows at a time, starting at row `from`; returns the first row not done.
template <int Width, int Floats>
ATROUS_INLINE int64_t softmax_narrow(int64_t from, int64_t count, const float* scores, float* out,
                                     float* largest) {
    using P = Lanes<Floats>;
    Extremes<Floats> extremes;
    int64_t p = from;
    for (; p + Floats / Width <= count; p += Floats / Width) {
        const P row = P::load(scores + p * Width);
        const P exponentials = exp_of_negative_lanes(row - folded<Width>(row, Larger{}));
        const P sum = folded<Width>(exponentials, Plus{});
        const P probabilities = exponentials * inverse(sum);
        extremes.largest = larger(extremes.largest, exponentials);
        probabilities.store(out + p * Width);
    }
    extremes.fold_into(largest, Width);
    return p;
}

// Softmax of rows of 16 floats, or 24 with Rest.
template <bool Rest>
ATROUS_INLINE void softmax_row(int64_t count, float* scores, float* out, float* largest) {
    using P = Lanes<16>;
    using Half = Lanes<8>;
    constexpr int64_t kWidth = Rest ? 24 : 16;
    Extremes<16> extremes;
    Extremes<8> of_rest;
    for (int64_t p = 0; p < count; ++p) {
        const P row = P::load(scores + p * kWidth);
        const Half rest = Half::load(scores + p * kWidth + kWidth - 8);
        const Half top = folded<8>(larger(larger(half<0>(row), half<1>(row)), rest), Larger{});
        const P e = exp_of_negative_lanes(row - twice(top));
        Half sum = half<0>(e) + half<1>(e);
        Half e_rest = Half::all(0.0f);
        if constexpr (Rest) {
            e_rest = exp_of_negative_lanes(rest - top);
            sum = sum + e_rest;
        }
        sum = folded<8>(sum, Plus{});
        const Half share = inverse(sum);
        const P probabilities = e * twice(share);
        extremes.largest = larger(extremes.largest, e);
        probabilities.store(out + p * kWidth);
        if constexpr (Rest) {
            of_rest.largest = larger(of_rest.largest, e_rest);
            e_rest = e_rest * share;
            e_rest.store(out + p * kWidth + 16);
        }
    }
    extremes.fold_into(largest, 16);
    of_rest.fold_into(largest + kWidth - 8, 8);
}

// Softmax of rows of any multiple of 8 floats.
ATROUS_INLINE void softmax_wide(int64_t count, float* scores, float* out, int64_t width, float* largest) {
    using P = Lanes<8>;
    for (int64_t p = 0; p < count; ++p) {
        float* row = scores + p * width;
        P top = P::load(row);
        for (int64_t c = 8; c < width; c += 8) top = larger(top, P::load(row + c));
        top = folded<8>(top, Larger{});
        P sum = P::all(0.0f);
        for (int64_t c = 0; c < width; c += 8) {
            const P e = exp_of_negative_lanes(P::load(row + c) - top);
            sum = sum + e;
            e.store(row + c);
        }
        sum = folded<8>(sum, Plus{});
        const P share = inverse(sum);
        for (int64_t c = 0; c < width; c += 8) {
            const P e = P::load(row + c);
            larger(P::load(largest + c), e).store(largest + c);
            (e * share).store(out + p * width + c);
        }
    }
}

void softmax(int64_t count, float* scores, float* probabilities, int64_t width, float* largest,
             float* change) {
    float* out = change == nullptr ? probabilities : scores;
    if (width == 4) {
        const int64_t done = softmax_narrow<4, 16>(0, count, scores, out, largest);
        softmax_narrow<4, 4>(done, count, scores, out, largest);
    } else if (width == 8) {
        const int64_t done = softmax_narrow<8, 16>(0, count, scores, out, largest);
        softmax_narrow<8, 8>(done, count, scores, out, largest);
    } else if (width == 16) {
        softmax_row<false>(count, scores, out, largest);
    } else if (width == 24) {
        softmax_row<true>(count, scores, out, largest);
    } else {
        softmax_wide(count, scores, out, width, largest);
    }
    if (change == nullptr) return;
    float most = *change;
    for (int64_t e = 0; e < count * width; ++e) {
        const float difference = scores[e] - probabilities[e];
        const float distance = difference < 0.0f ? -difference : difference;
        most = distance > most ? distance : most;
    }
    *change = most;
    for (int64_t e = 0; e < count * width; ++e) probabilities[e] = scores[e];
}

void planes(const float* rows, int64_t count, int64_t width, float* const* planes, int64_t labels,
            int64_t stride, int64_t begin) {
    for (int64_t c = 0; c < labels; ++c) {
        if (planes[c] == nullptr) continue;
        float* to = planes[c] + begin * stride;
        if (stride == 1)
            for (int64_t p = 0; p < count; ++p) to[p] = rows[p * width + c];
        else
            for (int64_t p = 0; p < count; ++p) to[p * stride] = rows[p * width + c];
    }
}

}  // namespace
