// Which mean field does what is asked for.
#pragma once

#include <cstdint>
#include <vector>

#include "local_field.hpp"
#include "mean_field.hpp"
#include "model.hpp"
#include "pair_field.hpp"

namespace atrous {

// What is wanted of Q; each may be null.
struct Wanted {
    float* probabilities = nullptr;  // planes, `label_stride` floats apart, their values `stride`
    std::int64_t label_stride = 0, stride = 1;
    std::int32_t* labels = nullptr;
    bool zeroed = false;  // the probabilities hold zeros, which need not be written
};

template <class Field>
void write(const Field& field, Team& team, const Wanted& wanted) {
    if (wanted.labels != nullptr) field.labels(team, wanted.labels);
    if (wanted.probabilities != nullptr)
        field.probabilities(team, wanted.probabilities, wanted.label_stride, wanted.stride, wanted.zeroed);
}

// The energies of two labels' steps, which the field of their difference does not know; its Q must not depend
// on who wants to know them.
inline void trace(Team& team, const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
                  Settings settings, Report& report) {
    settings.iterations = report.steps;
    settings.tolerance = 0.0f;
    MeanField field(terms, tiles, unary);
    const Report traced = field.infer(team, settings);
    report.energy = traced.energy;
    report.entropy = traced.entropy;
}

// Throws std::domain_error where the unary term has values that cannot be used.
inline Report infer(Team& team, const std::vector<Term>& terms, const Tiles& tiles, const Unary& unary,
                    const Settings& settings, Wanted wanted) {
    Report report;
    if (unary.labels == 2) {
        PairField field(terms, tiles, unary, settings);
        report = field.infer(team);
        // Before Q is written, which may be over the unary term.
        if (settings.trace) trace(team, terms, tiles, unary, settings, report);
        write(field, team, wanted);
    } else if (LocalField::suits(terms, settings, unary.labels)) {
        LocalField field(terms, tiles, unary, settings);
        report = field.infer(team);
        wanted.zeroed |= unary.consumed;  // Q takes the unary term's place
        write(field, team, wanted);
    } else {
        MeanField field(terms, tiles, unary);
        report = field.infer(team, settings);
        write(field, team, wanted);
    }
    return report;
}

}  // namespace atrous
