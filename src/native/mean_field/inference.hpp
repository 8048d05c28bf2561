// Which mean field does what is asked for.
#pragma once

#include <cstdint>
#include <vector>

#include "mean_field/binary.hpp"
#include "mean_field/mean_field.hpp"
#include "mean_field/types.hpp"

namespace atrous {

// What is outputs of Q; each may be null.
struct Outputs {
    float* probabilities = nullptr;  // planes, `label_stride` floats apart, their values `stride`
    std::int64_t label_stride = 0, stride = 1;
    std::int32_t* labels = nullptr;
    bool zeroed = false;  // the probabilities hold zeros, which need not be written
};

template <class Field>
void write(const Field& field, ThreadPool& pool, const Outputs& outputs) {
    if (outputs.labels != nullptr) field.labels(pool, outputs.labels);
    if (outputs.probabilities != nullptr)
        field.probabilities(pool, outputs.probabilities, outputs.label_stride, outputs.stride,
                            outputs.zeroed);
}

// The energies of two labels' steps, which the field of their difference does not know; its Q must not depend
// on who wants to know them.
inline void trace(ThreadPool& pool, const std::vector<Term>& terms, const Tiles& tiles, Unary unary,
                  Settings settings, Report& report) {
    settings.iterations = report.steps;
    settings.tolerance = 0.0f;
    unary.consumed = false;
    MeanField field(terms, tiles, unary, settings);
    const Report traced = field.infer(pool);
    report.energy = traced.energy;
    report.entropy = traced.entropy;
}

// Throws std::domain_error where the unary term has values that cannot be used.
inline Report infer(ThreadPool& pool, const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
                    const Settings& settings, Outputs outputs) {
    Report report;
    if (unary.labels == 2) {
        BinaryMeanField field(terms, tiles, unary, settings);
        report = field.infer(pool);
        // Before Q is written, which may be over the unary term.
        if (settings.trace) trace(pool, terms, tiles, unary, settings, report);
        write(field, pool, outputs);
    } else {
        MeanField field(terms, tiles, unary, settings);
        report = field.infer(pool);
        outputs.zeroed |= unary.consumed;  // Q takes the unary term's place
        write(field, pool, outputs);
    }
    return report;
}

}  // namespace atrous
