// Simplex search of one instruction set, an entry of its table of kernels.
#pragma once

#include "simd/kernels.hpp"

#ifndef ATROUS_INSTRUCTION_SET
#define ATROUS_INSTRUCTION_SET baseline
#endif

namespace atrous::ATROUS_INSTRUCTION_SET {

void simplex(const LatticeGeometry& lattice, const FeatureBlock& features, int count, std::uint64_t* keys,
             float* weights);

}  // namespace atrous::ATROUS_INSTRUCTION_SET
