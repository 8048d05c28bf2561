// Selects the kernels for this processor.
#include <atomic>
#include <cstring>

#include "simd/kernels.hpp"

namespace atrous {

namespace baseline {
const Kernels& loops();
}  // namespace baseline
#if defined(ATROUS_X86_LEVELS)
namespace v3 {
const Kernels& loops();
}  // namespace v3
namespace v4 {
const Kernels& loops();
}  // namespace v4
#endif

namespace {

const Kernels* find(const char* name) {
#if defined(ATROUS_X86_LEVELS)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (v4 && (name == nullptr || std::strcmp(name, "v4") == 0)) return &v4::loops();
    if (v3 && (name == nullptr || std::strcmp(name, "v3") == 0)) return &v3::loops();
#endif
    if (name == nullptr || std::strcmp(name, "baseline") == 0) return &baseline::loops();
    return nullptr;
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

const Kernels& kernels() {
    const Kernels* loops = chosen.load(std::memory_order_relaxed);
    if (loops == nullptr) {
        loops = find(nullptr);
        chosen.store(loops, std::memory_order_relaxed);
    }
    return *loops;
}

bool choose_instruction_set(const char* name) {
    const Kernels* loops = find(name);
    if (loops != nullptr) chosen.store(loops, std::memory_order_relaxed);
    return loops != nullptr;
}

}  // namespace atrous
