// Loops that round as the reference implementation does: see sequential.hpp. Rows as in inner_loops.hpp.
#pragma once

#include <cstdint>

namespace atrous {

struct SequentialLoops {
    // out[v] = sum over e in [starts[v], starts[v + 1]) of weights[e] * (factors[points[e]] *
    // rows[points[e]]), one after the other, for v in [begin, end); factors null: ones
    void (*gather)(std::int64_t begin, std::int64_t end, const std::uint32_t* starts,
                   const std::uint32_t* points, const float* weights, const float* factors, const float* rows,
                   float* out, std::int64_t width);

    // out[p] = sum over k < corners of (weights[p, k] * scale) * rows[indices[p, k]]; of
    // (weights[p, k] * rows[indices[p, k]]) * scale for up to two labels
    void (*slice)(std::int64_t points, int corners, const std::uint32_t* indices, const float* weights,
                  float scale, const float* rows, float* out, std::int64_t labels, std::int64_t width);

    // scores[p] += gains * (factors[p] * message[p]), label by label; factors null: ones
    void (*add)(std::int64_t points, const float* factors, const float* gains, const float* message,
                float* scores, std::int64_t width);

    // scores[p, a] += sum over labels b of gains[b, a] * (factors[p] * message[p, b]); by_four says for which
    // points the labels after the last full four take the labels b by fours. Changes message.
    void (*add_product)(std::int64_t points, const float* factors, const float* gains, float* message,
                        std::int64_t labels, std::int64_t by_four, float* scores, std::int64_t width);

    // out[p] = softmax(scores[p]), scores being changed; what is under 2e-22 becomes 0.
    void (*softmax)(std::int64_t points, float* scores, float* out, std::int64_t labels, std::int64_t width);
};

}  // namespace atrous
