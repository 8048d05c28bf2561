// Two labels, of which one says it all.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "mean_field/binary.hpp"
#include "random.hpp"
#include "reference.hpp"
#include "scene.hpp"

using namespace testing;
using atrous::BinaryMeanField;
using atrous::Settings;
using atrous::Term;
using atrous::ThreadPool;
using atrous::Tiles;
using atrous::Unary;

namespace {

Result infer(const std::vector<Term>& terms, const Unary& unary, const Settings& settings, int threads = 2) {
    ThreadPool pool(threads);
    BinaryMeanField field(terms, terms.empty() ? Tiles(unary.points) : terms[0].filter->tiles(), unary,
                          settings);
    return result_of(field, pool, unary, field.infer(pool));
}

// A picture of many tiles: the first label rules its left, the second its right, and noise the middle.
struct Halves {
    static constexpr std::int64_t kHeight = 130, kWidth = 260, kPoints = kHeight * kWidth;

    Halves() : energies(static_cast<std::size_t>(2 * kPoints)) {
        Random random(3);
        const auto noise = random.normals(static_cast<std::size_t>(kPoints));
        for (std::int64_t p = 0; p < kPoints; ++p) {
            const double place = static_cast<double>(p % kWidth) / kWidth - 0.5;
            energies[static_cast<std::size_t>(p)] =
                static_cast<float>(240.0 * place * std::abs(place)) + noise[static_cast<std::size_t>(p)];
        }
        terms.push_back({std::make_shared<atrous::GridGaussian>(std::vector<std::int64_t>{kHeight, kWidth},
                                                                std::vector<double>{2, 2}, 1e-4),
                         {},
                         std::vector<float>(static_cast<std::size_t>(kPoints), 0.05f),
                         {},
                         {},
                         1.3f});
    }

    std::vector<float> energies;
    std::vector<Term> terms;
};

}  // namespace

TEST_CASE("two labels: the plain mean field, for every instruction set, its bits every thread's") {
    for (const auto& set : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(set.c_str()));
        for (const std::uint64_t seed : {5, 6, 7}) {
            const Scene scene(2, seed);  // gains of all kinds, with factors before the kernel and without
            for (const int iterations : {0, 1, 5}) {
                CAPTURE(set);
                CAPTURE(seed);
                CAPTURE(iterations);
                const Unary unary = energies_of(scene.energies, Scene::kPoints);
                const auto first = infer(scene.terms, unary, steps(iterations), 1);
                CHECK(first.report.steps == iterations);
                CHECK(first.report.active_labels == std::vector<std::int32_t>{0, 1});
                CHECK(largest_difference(first.q, scene.truth(iterations).q) < 2e-5);
                for (std::size_t p = 0; p < Scene::kPoints; ++p)
                    REQUIRE(first.labels[p] == (first.q[p] < first.q[Scene::kPoints + p]));
                for (const int threads : {2, 3, 7}) {
                    const auto other = infer(scene.terms, unary, steps(iterations), threads);
                    CHECK(other.q == first.q);
                    CHECK(other.labels == first.labels);
                }
            }
        }
    }
}

TEST_CASE("two labels: a total that is known gives what a computed one gives") {
    Halves halves;
    const Unary unary = energies_of(halves.energies, Halves::kPoints);
    Term& term = halves.terms[0];
    const std::vector<float> mass =
        applied(*term.filter, std::vector<float>(static_cast<std::size_t>(Halves::kPoints), 1.0f), 1);
    for (std::size_t p = 0; p < mass.size(); ++p) term.post_scale[p] = 2.0f / mass[p];
    for (const std::vector<float>& gains : {std::vector<float>{}, {0.5f, 1.5f}, {1.0f, 0.2f, -0.3f, 0.7f}}) {
        term.gains = gains;
        term.total.reset();
        const auto computed = infer(halves.terms, unary, steps(4));
        term.total = 2.0f;
        const auto known = infer(halves.terms, unary, steps(4));
        CHECK(largest_difference(known.q, std::vector<double>(computed.q.begin(), computed.q.end())) < 1e-5);
    }
}

TEST_CASE("two labels: settings that are no numbers, or negative, are those of no pruning and no step") {
    const Scene scene(2);
    const Unary unary = energies_of(scene.energies, Scene::kPoints);
    Settings settings = steps(-1);
    settings.prune = NAN;
    settings.tolerance = NAN;
    const auto got = infer(scene.terms, unary, settings);
    CHECK(got.report.steps == 0);
    CHECK(got.q == infer(scene.terms, unary, steps(0)).q);
    settings.prune = 5.0f;
    const std::vector<float> energies = [] {
        std::vector<float> values(2 * Scene::kPoints, 0.0f);
        std::fill_n(values.begin(), Scene::kPoints, 9.0f);
        return values;
    }();
    CHECK(infer(scene.terms, energies_of(energies, Scene::kPoints), settings).report.steps == 0);
}

TEST_CASE("two labels: of equal probabilities the first is chosen, however near the scores are") {
    const std::vector<float> energies = {1e-9f, 0.0f, 0.0f, 1e-9f};
    const auto got = infer({}, energies_of(energies, 2), steps(1));
    CHECK(got.q == std::vector<float>(4, 0.5f));
    CHECK(got.labels == std::vector<std::int32_t>{0, 0});
}

TEST_CASE("two labels: each is as exact where it is improbable as where it is not") {
    const std::vector<float> energies = {0.0f, 30.0f, 2.0f, 30.0f, 0.0f, 2.0f};
    const auto q = infer({}, energies_of(energies, 3), steps(0)).q;
    CHECK(q[1] == doctest::Approx(std::exp(-30.0)).epsilon(1e-5));
    CHECK(q[3] == doctest::Approx(std::exp(-30.0)).epsilon(1e-5));
    CHECK(q[2] == 0.5f);
    CHECK(q[5] == 0.5f);
}

TEST_CASE("two labels: tiles where one is improbable are decided, and little changes") {
    const Halves halves;
    const Unary unary = energies_of(halves.energies, Halves::kPoints);
    const auto whole = infer(halves.terms, unary, steps(6));
    Settings settings = steps(6);
    settings.prune = 0.05f;
    const auto pruned = infer(halves.terms, unary, settings);
    const auto zeros = std::count(pruned.q.begin(), pruned.q.end(), 0.0f);
    CHECK(zeros >= 2 * Tiles(Halves::kPoints, Halves::kWidth).width() * Halves::kHeight);
    CHECK(std::count(pruned.q.begin(), pruned.q.end(), 1.0f) >= zeros);
    CHECK(std::count(whole.q.begin(), whole.q.end(), 0.0f) < zeros / 4);
    CHECK(largest_difference(pruned.q, std::vector<double>(whole.q.begin(), whole.q.end())) < 0.02);
    CHECK(pruned.labels == whole.labels);
    for (const int threads : {1, 5}) CHECK(infer(halves.terms, unary, settings, threads).q == pruned.q);
}

TEST_CASE("two labels: one that is improbable everywhere leaves before the first step") {
    const Scene scene(2);
    for (const int label : {0, 1}) {
        std::vector<float> energies(2 * Scene::kPoints, 0.0f);
        for (std::size_t p = 0; p < Scene::kPoints; ++p)
            energies[static_cast<std::size_t>(label) * Scene::kPoints + p] = 8.0f;
        Settings settings = steps(3);
        settings.prune = 0.01f;
        const auto got = infer(weighted(scene.terms), energies_of(energies, Scene::kPoints), settings);
        CHECK(got.report.active_labels == std::vector<std::int32_t>{1 - label});
        CHECK(got.report.steps == 3);
        CHECK(got.labels == std::vector<std::int32_t>(Scene::kPoints, 1 - label));
        for (std::size_t at = 0; at < got.q.size(); ++at)
            REQUIRE(got.q[at] == (at / Scene::kPoints == static_cast<std::size_t>(label) ? 0.0f : 1.0f));
    }
}

TEST_CASE("two labels: a tolerance ends the inference where nothing changes any more") {
    const Scene scene(2);
    const Unary unary = energies_of(scene.energies, Scene::kPoints);
    const auto all = infer(scene.terms, unary, steps(400));
    Settings settings = steps(400);
    settings.tolerance = 1e-5f;
    const auto few = infer(scene.terms, unary, settings);
    CHECK(few.report.steps > 1);
    CHECK(few.report.steps < 100);
    CHECK(largest_difference(few.q, std::vector<double>(all.q.begin(), all.q.end())) < 1e-4);
    settings.tolerance = 1.0f;
    CHECK(infer(scene.terms, unary, settings).report.steps == 1);
}

TEST_CASE("two labels: values that cannot be used are refused, extreme ones leave probabilities") {
    const Scene scene(2);
    for (const float bad : {NAN, INFINITY, -INFINITY, 2e30f})
        for (const std::size_t at : {std::size_t{0}, 2 * Scene::kPoints - 1}) {
            auto energies = scene.energies;
            energies[at] = bad;
            CHECK_THROWS_AS(infer(scene.terms, energies_of(energies, Scene::kPoints), steps(2)),
                            std::domain_error);
        }
    Random random(6);
    const float extremes[] = {0.0f, 1e30f, -1e30f, 1e-45f, 87.0f, -104.0f};
    for (int round = 0; round < 20; ++round) {
        auto energies = scene.energies;
        for (float& energy : energies) energy = extremes[random.bits() % std::size(extremes)];
        Settings settings = steps(3);
        settings.prune = round % 2 == 0 ? 0.0f : 0.01f;
        const auto q = infer(scene.terms, energies_of(energies, Scene::kPoints), settings).q;
        for (std::size_t p = 0; p < Scene::kPoints; ++p)
            REQUIRE(q[p] + q[Scene::kPoints + p] == doctest::Approx(1.0).epsilon(1e-6));
    }
}
