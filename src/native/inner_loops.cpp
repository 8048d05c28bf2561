// Compiled once for each instruction set (see CMakeLists.txt). Nothing here may use a function of the
// standard library that is not inlined for certain: the linker keeps one copy of such a function for
// the whole module, and it could be the one for a processor that the user does not have.
#include "inner_loops.hpp"

#include "convolution_loops.hpp"
#include "halving_loops.hpp"
#include "label_loops.hpp"
#include "lattice_loops.hpp"
#include "pair_loops.hpp"
#include "simplex.hpp"

#define ATROUS_TEXT(x) #x
#define ATROUS_NAME(x) ATROUS_TEXT(x)

namespace atrous::ATROUS_INSTRUCTION_SET {

const InnerLoops& loops() {
    static constexpr InnerLoops all = {
        ATROUS_NAME(ATROUS_INSTRUCTION_SET),
        OfVertices<float>::loops(),
#if defined(ATROUS_HALVES)
        OfVertices<Half>::loops(),
#else
        {},
#endif
        simplex,
        splat,
        pick,
        slice,
        convolve,
        convolve_line,
        mix,
        halve,
        widen,
        brute_force,
        survey,
        scores,
        scale,
        add,
        add_product,
        softmax,
        logistic,
        planes,
    };
    return all;
}

}  // namespace atrous::ATROUS_INSTRUCTION_SET
