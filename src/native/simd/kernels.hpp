// Inner loops, compiled once for each instruction set and selected at run time.
//
// Values of points and of lattice vertices are rows of `width` floats, one for each label, padded with
// zeros to 4 or to a multiple of 8, so that every loop over labels has a fixed length. A width of 1 serves
// filters alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace atrous {

constexpr int kMaxDimensions = 255;  // features of a point
constexpr int kSimplexBlock = 32;    // points of a call of `simplex`
constexpr int kRowsAtOnce = 4;       // rows that `convolve` computes together
constexpr int kHalvingReach = 4;     // radius of the taps of `halve` and `widen`

// Features of some neighboring points.
struct FeatureBlock {
    float at[kMaxDimensions][kSimplexBlock];
};

// A lattice's coordinates and the keys of its vertices: see lattice/vertex_keys.hpp.
struct LatticeGeometry {
    int dimensions;
    float scale[kMaxDimensions];               // features -> the coordinates that are elevated
    std::int32_t origin[kMaxDimensions];       // smallest cell number along each coordinate
    std::uint64_t stride[kMaxDimensions + 1];  // of a cell number in a key; the last is 0
    std::uint64_t wrap;                        // added to a key if the remainder wraps around
};

// Operations on rows of lattice vertices in float32 or float16.
struct VertexKernels {
    std::size_t bytes;  // of a value; 0 if the instruction set does not support the type

    // out[v] = rows[first[v]] + sum over e in [starts[v], starts[v + 1]) of rows[others[e]] for v in [begin,
    // end); owners[e] is that v.
    void (*sum)(std::int64_t begin, std::int64_t end, const std::uint32_t* first, const std::uint32_t* starts,
                const std::uint32_t* owners, const std::uint32_t* others, const void* rows, void* out,
                std::int64_t width);

    // out[v] = sum over e in [starts[v], starts[v + 1]) of weights[e] * rows[indices[e]] for v in [begin,
    // end)
    void (*weighted_sum)(std::int64_t begin, std::int64_t end, const std::uint32_t* starts,
                         const std::uint32_t* indices, const float* weights, const void* rows, void* out,
                         std::int64_t width);

    // rows[v] += (rows[previous] + rows[next]) / 2, in place, for the vertices v of chains of neighbors: see
    // BlurOrder. order[end - 1] is 0, and row 0 holds zeros.
    void (*blur_chains)(std::int64_t begin, std::int64_t end, const std::uint32_t* order, void* rows,
                        std::int64_t width);

    // out[i] = scale * rows[indices[i]] for i < count
    void (*copy)(std::int64_t count, const std::uint32_t* indices, float scale, const void* rows, float* out,
                 std::int64_t width);

    // out[i, c] = scale * rows[indices[i], columns[c]] for c < chosen, zeros beyond
    void (*copy_columns)(std::int64_t count, const std::uint32_t* indices, float scale, const void* rows,
                         std::int64_t width, const std::int32_t* columns, std::int64_t chosen, float* out,
                         std::int64_t out_width);

    // out[i] = scale * rows[i] for i < count
    void (*store)(std::int64_t count, float scale, const float* rows, void* out, std::int64_t width);

    // out[i, columns[c]] = scale * rows[i, c] for c < chosen, zeros elsewhere
    void (*expand)(std::int64_t count, float scale, const float* rows, std::int64_t width,
                   const std::int32_t* columns, std::int64_t chosen, void* out, std::int64_t out_width);

    // out[p] = scale * sum over k < corners of weights[p, k] * rows[indices[sources[p, k]]] for p < points
    void (*slice_far)(std::int64_t points, int corners, const std::uint16_t* sources, const float* weights,
                      const std::uint32_t* indices, float scale, const void* rows, float* out,
                      std::int64_t width);
};

// The smallest and largest probability of the first of two labels.
struct PairRange {
    float lowest = 1.0f, highest = 0.0f;
};

struct Kernels {
    const char* name;
    VertexKernels float32, float16;

    // Keys of the d + 1 vertices around `count` points, [vertex][kSimplexBlock], and their barycentric
    // weights, [point][vertex].
    void (*simplex)(const LatticeGeometry&, const FeatureBlock& features, int count, std::uint64_t* keys,
                    float* weights);

    // sums[targets[p, k]] += weights[p, k] * factors[p] * rows[p] for p < points, k < corners; factors may be
    // null
    void (*splat)(std::int64_t points, int corners, const std::uint16_t* targets, const float* weights,
                  const float* factors, const float* rows, float* sums, std::int64_t width);

    // out[i, c] = rows[i, source_columns[c]] for c < chosen, zero if the source is negative; padding beyond.
    // If rows and out are the same, out must not be wider than rows, and the sources must ascend.
    void (*gather_columns)(std::int64_t count, const float* rows, std::int64_t width,
                           const std::int32_t* source_columns, std::int64_t chosen, float padding, float* out,
                           std::int64_t out_width);

    // out[p] = sum over k < corners of weights[p, k] * rows[sources[p, k]] for p < points
    void (*slice)(std::int64_t points, int corners, const std::uint16_t* sources, const float* weights,
                  const float* rows, float* out, std::int64_t width);

    // Convolves the first `columns` floats of `length` rows along the rows' axis, for i in [begin, end):
    // out[i - begin] = sum over t from -radius to radius of taps[t] * rows[i + t]; rows outside are 0. Rows
    // are `pitch` floats apart, those of out `stride`. `taps` points to the middle tap, and kRowsAtOnce zeros
    // precede and follow the taps.
    void (*convolve)(const float* rows, std::int64_t length, std::int64_t pitch, std::int64_t columns,
                     std::int64_t begin, std::int64_t end, const float* taps, std::int64_t radius, float* out,
                     std::int64_t stride);

    // Convolves narrow contiguous rows: out[i] = sum over t from -radius to radius of taps[t] * line[i + t *
    // width], for i < count floats. Reads line[-radius * width] to line[count + radius * width + 14].
    void (*convolve_line)(const float* line, std::int64_t count, std::int64_t width, const float* taps,
                          std::int64_t radius, float* out);

    // out[c] = sum over l < count of factors[l] * lines[l][c] for c < columns; out may be one of the lines.
    void (*mix)(int count, const float* const* lines, const float* factors, std::int64_t columns, float* out);

    // out[i] = sum over t from -kHalvingReach to kHalvingReach of taps[|t|] * line[2 i + t + kHalvingReach],
    // for i < count rows
    void (*halve)(const float* line, std::int64_t count, std::int64_t width, const float* taps, float* out);

    // The transpose of `halve`, for `count` rows of out. cells[0] lies kHalvingReach rows before out[0], or
    // one row less if `odd`.
    void (*widen)(const float* cells, bool odd, std::int64_t count, std::int64_t width, const float* taps,
                  float* out);

    // out[p] = sum over all points j of exp(-|f_p - f_j|^2 / 2) * rows[j] for p in [begin, end)
    void (*brute_force)(int dimensions, const float* features, std::int64_t points, std::int64_t begin,
                        std::int64_t end, const float* rows, float* out, std::int64_t width);

    // Reads planes[c][(begin + y * line + p) * stride] for p < count, y < lines, energies or probabilities of
    // `labels` labels. Raises largest[c] to the largest ratio of label c to the most probable label of a
    // point. Returns false if a value is outside [lowest, highest].
    bool (*scan_unary)(bool energies, const float* const* planes, std::int64_t labels, std::int64_t stride,
                       std::int64_t begin, std::int64_t count, std::int64_t lines, std::int64_t line,
                       float lowest, float highest, float* largest);

    // rows[p, c] = log p or -energy, of planes[c][(begin + p) * stride]; -inf in the padding. Probabilities
    // are clipped to the smallest normal number.
    void (*scores)(bool energies, const float* const* planes, std::int64_t labels, std::int64_t stride,
                   std::int64_t begin, std::int64_t count, float* rows, std::int64_t width);

    // rows[p] = factors[p] * input[p]
    void (*scale)(std::int64_t count, const float* factors, const float* input, float* rows,
                  std::int64_t width);

    // rows[p] = base[p] + factors[p] * gains * message[p], label by label
    void (*add)(std::int64_t count, const float* factors, const float* gains, const float* message,
                const float* base, float* rows, std::int64_t width);

    // rows[p, a] = base[p, a] + factors[p] * sum over labels b of gains[b, a] * message[p, b]
    void (*add_product)(std::int64_t count, const float* factors, const float* gains, const float* message,
                        std::int64_t labels, const float* base, float* rows, std::int64_t width);

    // probabilities[p] = softmax(scores[p]), 0 if below 2e-22, so that no sum is denormal. Raises largest[c]
    // to the largest ratio of column c to its row's largest and, unless change is null, raises *change to the
    // largest difference from the previous probabilities. May change scores.
    void (*softmax)(std::int64_t count, float* scores, float* probabilities, std::int64_t width,
                    float* largest, float* change);

    // first[p] = 1 / (1 + exp(-scores[p])), second[p] = 1 / (1 + exp(scores[p])), 0 if below 2e-22; second
    // may be null. Widens *range, unless it is null, to the values of first.
    void (*logistic)(std::int64_t count, const float* scores, float* first, float* second, PairRange* range);

    // planes[c][(begin + p) * stride] = rows[p, c] for the labels c whose plane is not null
    void (*planes)(const float* rows, std::int64_t count, std::int64_t width, float* const* planes,
                   std::int64_t labels, std::int64_t stride, std::int64_t begin);

    // Backward pass of softmax: grad_scores[p] = q[p] * (grad_q[p] - <q[p], grad_q[p]>), also added to
    // total[p].
    void (*softmax_gradient)(std::int64_t count, const float* q, const float* grad_q, float* grad_scores,
                             float* total, std::int64_t width);

    // sums += left[p] * right[p], label by label, over all p < count
    void (*add_products)(std::int64_t count, const float* left, const float* right, float* sums,
                         std::int64_t width);

    // sums[a] += left[p, a] * right[p] for a < labels, over all p < count
    void (*add_outer_products)(std::int64_t count, const float* left, const float* right, std::int64_t labels,
                               float* sums, std::int64_t width);
};

// Returns the kernels of the best compiled instruction set that this processor has, or of the chosen one.
const Kernels& kernels();

// Selects "v4", "v3" or "baseline"; returns false if it was not compiled or the processor lacks it.
bool choose_instruction_set(const char* name);

}  // namespace atrous
