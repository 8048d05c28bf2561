// Selects the mean field implementation.
#pragma once

#include <cstdint>
#include <vector>

#include "mean_field/binary.hpp"
#include "mean_field/mean_field.hpp"
#include "mean_field/types.hpp"

namespace atrous {

// Destinations of an inference's results; null pointers are skipped.
struct Outputs {
    float* probabilities = nullptr;  // planes `label_stride` floats apart, with values `stride` floats apart
    std::int64_t label_stride = 0, stride = 1;
    std::int32_t* labels = nullptr;
    bool out_is_zero = false;  // `probabilities` holds zeros, so pruned labels need no writes
};

template <class Field>
void write(const Field& field, ThreadPool& pool, const Outputs& outputs) {
    if (outputs.labels != nullptr) field.labels(pool, outputs.labels);
    if (outputs.probabilities != nullptr)
        field.probabilities(pool, outputs.probabilities, outputs.label_stride, outputs.stride,
                            outputs.out_is_zero);
}

// Adds the energies of two labels to the report: runs the steps again in MeanField, because BinaryMeanField
// cannot compute them, and Q must not depend on `trace`.
inline void trace(ThreadPool& pool, const std::vector<Term>& terms, const Tiles& tiles, Unary unary,
                  Settings settings, Report& report) {
    settings.iterations = report.steps;
    settings.tolerance = 0.0f;
    unary.in_place = false;
    MeanField field(terms, tiles, unary, settings);
    const Report traced = field.infer(pool);
    report.energy = traced.energy;
    report.entropy = traced.entropy;
}

// Throws std::domain_error if the unary term has invalid values.
inline Report infer(ThreadPool& pool, const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
                    const Settings& settings, Outputs outputs) {
    Report report;
    if (unary.labels == 2) {
        BinaryMeanField field(terms, tiles, unary, settings);
        report = field.infer(pool);
        // First, because Q may overwrite the unary term.
        if (settings.trace) trace(pool, terms, tiles, unary, settings, report);
        write(field, pool, outputs);
    } else {
        MeanField field(terms, tiles, unary, settings);
        report = field.infer(pool);
        outputs.out_is_zero |= unary.in_place;  // MeanField has zeroed them
        write(field, pool, outputs);
    }
    return report;
}

}  // namespace atrous
