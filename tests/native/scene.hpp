// A small CRF with everything that a term can have, and the plain mean field of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "brute_force.hpp"
#include "gaussian/separable.hpp"
#include "lattice/lattice.hpp"
#include "mean_field/mean_field.hpp"
#include "random.hpp"
#include "reference.hpp"

namespace testing {

inline atrous::Unary energies_of(const std::vector<float>& values, std::size_t points) {
    const auto count = static_cast<std::int64_t>(points);
    return {values.data(), static_cast<std::int64_t>(values.size()) / count, count, count, 1, true, -1e30f,
            1e30f};
}

inline atrous::Unary probabilities_of(const std::vector<float>& values, std::size_t points) {
    atrous::Unary unary = energies_of(values, points);
    unary.energies = false;
    unary.lowest = 0.0f;
    unary.highest = 1.001f;
    return unary;
}

inline atrous::Settings steps(int iterations) {
    atrous::Settings settings;
    settings.iterations = iterations;
    return settings;
}

// What an inference gives.
struct Result {
    Result(std::int64_t labels_count, std::int64_t points)
        : q(static_cast<std::size_t>(labels_count * points), -1.0f),
          labels(static_cast<std::size_t>(points), -1) {}

    atrous::Report report;
    std::vector<float> q;  // [label][point]
    std::vector<std::int32_t> labels;
};

// What a field has inferred.
template <class Field>
Result result_of(const Field& field, atrous::ThreadPool& pool, const atrous::Unary& unary,
                 atrous::Report report) {
    Result result(unary.labels, unary.points);
    result.report = std::move(report);
    field.probabilities(pool, result.q.data(), unary.points, 1);
    field.labels(pool, result.labels.data());
    return result;
}

// The terms, of a weight that lets labels be pruned.
inline std::vector<atrous::Term> weighted(std::vector<atrous::Term> terms, float weight = 1.0f) {
    for (atrous::Term& term : terms) term.weight = weight;
    return terms;
}

// The matrix that a filter multiplies by, read off column after column.
inline Matrix matrix_of(const atrous::Filter& filter) {
    const auto points = static_cast<std::size_t>(filter.points());
    std::vector<float> unit(points * points, 0.0f);
    for (std::size_t i = 0; i < points; ++i) unit[i * points + i] = 1.0f;
    const auto columns = applied(filter, unit, 1);
    Matrix kernel(points, std::vector<double>(points));
    for (std::size_t j = 0; j < points; ++j)
        for (std::size_t i = 0; i < points; ++i) kernel[i][j] = columns[j * points + i];
    return kernel;
}

// Three kernels with everything that a term can have.
struct Scene {
    explicit Scene(std::size_t labels, std::uint64_t seed = 5) : labels_(labels) {
        Random random(seed);
        const auto features = random.normals(2 * kPoints, 1.0);
        atrous::ThreadPool pool(2);
        const atrous::Tiles tiles(kPoints, 11);
        const std::vector<std::shared_ptr<const atrous::Filter>> filters = {
            std::make_shared<atrous::BruteForce>(features.data(), 2, tiles),
            std::make_shared<atrous::GridGaussian>(std::vector<std::int64_t>{6, 11},
                                                   std::vector<double>{1.0, 2.0}, 1e-7),
            std::make_shared<atrous::Lattice>(pool, atrous::ArrayFeatures(features.data(), 2, tiles))};
        const std::vector<std::vector<float>> gains = {
            {}, random.uniforms(labels), random.normals(labels * labels, 0.5)};
        for (std::size_t i = 0; i < 3; ++i) {
            atrous::Term term{filters[i], i == 0 ? std::vector<float>() : random.uniforms(kPoints),
                              random.uniforms(kPoints), gains[i]};
            for (float& factor : term.post_scale) factor *= 0.3f;
            plain.push_back({matrix_of(*term.filter), term.pre_scale, term.post_scale, term.gains});
            terms.push_back(std::move(term));
        }
        energies = random.normals(labels * kPoints, 2.0);
    }

    PlainReport truth(int iterations) const {
        return plain_mean_field(plain, std::vector<double>(energies.begin(), energies.end()), kPoints,
                                iterations);
    }

    static constexpr std::size_t kPoints = 66;
    std::size_t labels_;
    std::vector<atrous::Term> terms;
    std::vector<PlainTerm> plain;
    std::vector<float> energies;
};

inline double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = std::abs(a[i] - b[i]);
        if (std::isnan(difference)) return difference;
        most = std::max(most, difference);
    }
    return most;
}

}  // namespace testing
