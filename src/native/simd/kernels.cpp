// Compiled once for each instruction set (see CMakeLists.txt). Nothing here may use a function of the
// standard library that is not inlined for certain: the linker keeps one copy of such a function for
// the whole module, and it could be the one for a processor that the user does not have.
#include "simd/kernels.hpp"

#include "gaussian/convolution_kernels.hpp"
#include "gaussian/downsampling_kernels.hpp"
#include "lattice/embedding.hpp"
#include "lattice/splat_slice_kernels.hpp"
#include "mean_field/gradient_kernels.hpp"
#include "mean_field/logistic_kernels.hpp"
#include "mean_field/softmax_kernels.hpp"

#define ATROUS_TEXT(x) #x
#define ATROUS_NAME(x) ATROUS_TEXT(x)

namespace atrous::ATROUS_INSTRUCTION_SET {

const Kernels& loops() {
    static constexpr Kernels all = {
        ATROUS_NAME(ATROUS_INSTRUCTION_SET),
        OfVertices<float>::loops(),
#if defined(ATROUS_HALVES)
        OfVertices<Half>::loops(),
#else
        {},
#endif
        simplex,
        splat,
        gather_columns,
        slice,
        convolve,
        convolve_line,
        mix,
        halve,
        widen,
        brute_force,
        scan_unary,
        scores,
        scale,
        add,
        add_product,
        softmax,
        logistic,
        planes,
        softmax_gradient,
        add_products,
        add_outer_products,
    };
    return all;
}

}  // namespace atrous::ATROUS_INSTRUCTION_SET
