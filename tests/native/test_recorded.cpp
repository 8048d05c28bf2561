// Recorded inference and its gradient, against differences of the plain mean field.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mean_field/recorded.hpp"
#include "random.hpp"
#include "reference.hpp"
#include "scene.hpp"

using namespace testing;
using atrous::RecordedMeanField;
using atrous::Term;
using atrous::ThreadPool;

namespace {

constexpr int kSteps = 3;
constexpr std::int64_t kPoints = Scene::kPoints;

// Scene whose terms all have gains, and the loss sum(weights * Q) after kSteps.
struct Problem {
    explicit Problem(std::size_t labels) : scene(labels) {
        scene.terms[0].gains.assign(labels, 1.0f);
        scene.plain[0].gains.assign(labels, 1.0f);
        for (const float energy : scene.energies) logits.push_back(-energy);
        Random random(9);
        weights = random.normals(logits.size(), 1.0);
        q = scene.truth(kSteps).q;
        for (std::size_t at = 0; at < logits.size(); ++at) {
            double mean = 0;
            for (std::size_t c = 0; c < labels; ++c)
                mean += q[c * kPoints + at % kPoints] * weights[c * kPoints + at % kPoints];
            at_scores.push_back(static_cast<float>(q[at] * (weights[at] - mean)));
        }
    }

    double loss(const std::vector<double>& energies, const std::vector<PlainTerm>& terms) const {
        const auto found = plain_mean_field(terms, energies, kPoints, kSteps).q;
        double sum = 0;
        for (std::size_t at = 0; at < found.size(); ++at) sum += weights[at] * found[at];
        return sum;
    }

    Scene scene;
    std::vector<float> logits, weights, at_scores;
    std::vector<double> q;
};

struct Gradients {
    std::vector<float> scores, at_logits;
    std::vector<std::vector<float>> at_gains;
};

Gradients run(const Problem& problem, int threads) {
    ThreadPool pool(threads);
    const std::vector<Term>& terms = problem.scene.terms;
    const auto labels = static_cast<std::int64_t>(problem.scene.labels_);
    const RecordedMeanField field(terms, terms[0].filter->tiles(), labels);
    std::vector<float> marginals(static_cast<std::size_t>(kSteps * RecordedMeanField::size(kPoints, labels)));
    Gradients found;
    found.scores.resize(problem.logits.size());
    found.at_logits.resize(problem.logits.size());
    field.infer(pool, {problem.logits.data(), labels, 1, kPoints}, kSteps, marginals.data(),
                {found.scores.data(), labels, 1, kPoints});
    std::vector<float*> at_gains;
    for (const Term& term : terms) found.at_gains.emplace_back(term.gains.size());
    for (std::vector<float>& gains : found.at_gains) at_gains.push_back(gains.data());
    field.gradient(pool, marginals.data(), kSteps, {problem.at_scores.data(), labels, 1, kPoints},
                   {found.at_logits.data(), labels, 1, kPoints}, at_gains);
    return found;
}

// Central difference of f at 0.
double slope(const std::function<double(double)>& f) {
    constexpr double kStep = 1e-5;
    return (f(kStep) - f(-kStep)) / (2 * kStep);
}

}  // namespace

TEST_CASE("the recorded scores and gradients are the plain mean field's, and their bits are every thread's") {
    for (const auto& set : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(set.c_str()));
        for (const std::size_t labels : {1, 3, 5, 21, 40}) {
            CAPTURE(set);
            CAPTURE(labels);
            const Problem problem(labels);
            const Gradients found = run(problem, 1);
            std::vector<double> q(found.scores.size());
            softmax(std::vector<double>(found.scores.begin(), found.scores.end()), kPoints, q);
            CHECK(relative_error(q, problem.q) < 2e-5);
            for (const int threads : kThreads) {
                const Gradients other = run(problem, threads);
                CHECK(other.scores == found.scores);
                CHECK(other.at_logits == found.at_logits);
                CHECK(other.at_gains == found.at_gains);
            }
            if (labels == 1 || set != instruction_sets().back()) continue;

            const std::vector<double> energies(problem.scene.energies.begin(), problem.scene.energies.end());
            std::vector<double> got, expected;
            for (std::size_t at = 0; at < energies.size(); at += energies.size() / 12) {
                got.push_back(found.at_logits[at]);
                expected.push_back(slope([&](double shift) {
                    std::vector<double> changed = energies;
                    changed[at] -= shift;
                    return problem.loss(changed, problem.scene.plain);
                }));
            }
            CHECK(relative_error(got, expected) < 1e-4);
            for (std::size_t k = 0; k < problem.scene.terms.size(); ++k) {
                got.clear();
                expected.clear();
                const std::size_t gains = found.at_gains[k].size();
                for (std::size_t at = 0; at < gains; at += gains / 3) {
                    got.push_back(found.at_gains[k][at]);
                    // Float gains: the reference reads them as floats, so the shift is one that they can
                    // hold.
                    const float value = problem.scene.plain[k].gains[at];
                    const float shift = 1.0f / 256;
                    const auto shifted = [&](float by) {
                        std::vector<PlainTerm> terms = problem.scene.plain;
                        terms[k].gains[at] = value + by;
                        return problem.loss(energies, terms);
                    };
                    const double width = double{value + shift} - double{value - shift};
                    expected.push_back((shifted(shift) - shifted(-shift)) / width);
                }
                CAPTURE(k);
                CHECK(relative_error(got, expected) < 1e-3);
            }
        }
    }
    atrous::choose_instruction_set(instruction_sets().back().c_str());
}

TEST_CASE("the transpose of the lattice is that of its matrix, and the other filters are symmetric") {
    const Scene scene(2);
    for (std::size_t k = 0; k < scene.terms.size(); ++k) {
        CAPTURE(k);
        const atrous::Filter& filter = *scene.terms[k].filter;
        std::vector<float> unit(kPoints * kPoints, 0.0f), forward(unit.size()), back(unit.size());
        for (std::int64_t i = 0; i < kPoints; ++i) unit[static_cast<std::size_t>(i * kPoints + i)] = 1.0f;
        ThreadPool pool(2);
        atrous::apply(pool, filter, {unit.data(), kPoints, 1, kPoints},
                      {forward.data(), kPoints, 1, kPoints});
        atrous::apply(pool, filter, {unit.data(), kPoints, 1, kPoints}, {back.data(), kPoints, kPoints, 1},
                      true);
        CHECK(relative_error(back, forward) < 1e-6);
        CHECK(filter.symmetric() == (k != 2));
        std::vector<float> turned(unit.size());
        for (std::int64_t i = 0; i < kPoints; ++i)
            for (std::int64_t j = 0; j < kPoints; ++j)
                turned[static_cast<std::size_t>(j * kPoints + i)] =
                    forward[static_cast<std::size_t>(i * kPoints + j)];
        CHECK((relative_error(turned, forward) < 1e-6) == filter.symmetric());
    }
}
