// Reproducible random numbers: the standard library's distributions differ from one compiler to the next.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace testing {

class Random {
  public:
    explicit Random(std::uint64_t seed) : bits_(seed) {}

    std::uint64_t bits() { return bits_(); }
    double uniform() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }
    double normal() {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(6.283185307179586 * uniform());
    }

    std::vector<float> uniforms(std::size_t count) {
        std::vector<float> values(count);
        for (float& value : values) value = static_cast<float>(uniform());
        return values;
    }
    std::vector<float> normals(std::size_t count, double deviation = 1.0) {
        std::vector<float> values(count);
        for (float& value : values) value = static_cast<float>(deviation * normal());
        return values;
    }

  private:
    std::mt19937_64 bits_;
};

}  // namespace testing
