#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "brute_force.hpp"
#include "gaussian/separable.hpp"
#include "lattice/lattice.hpp"
#include "random.hpp"
#include "reference.hpp"
#include "scene.hpp"

using namespace testing;
using atrous::Filter;
using atrous::MeanField;
using atrous::Settings;
using atrous::Term;
using atrous::ThreadPool;
using atrous::Tiles;
using atrous::Unary;

namespace {

Result infer(const std::vector<Term>& terms, const Unary& unary, const Settings& settings, int threads = 2,
             ThreadPool::Poll stop = nullptr) {
    ThreadPool pool(threads, stop);
    MeanField field(terms, terms.empty() ? Tiles(unary.points) : terms[0].filter->tiles(), unary, settings);
    return result_of(field, pool, unary, field.infer(pool));
}

std::atomic<int> questions_left{0};
bool ask() {
    return --questions_left < 0;
}

}  // namespace

TEST_CASE("the mean field is the plain one, for every instruction set, and its bits are every thread's") {
    for (const auto& set : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(set.c_str()));
        for (const std::size_t labels : {1, 2, 4, 5, 21, 40}) {
            const Scene scene(labels);
            for (const int iterations : {0, 1, 5}) {
                const auto truth = scene.truth(iterations);
                const auto first =
                    infer(scene.terms, energies_of(scene.energies, Scene::kPoints), steps(iterations), 1);
                CAPTURE(set);
                CAPTURE(labels);
                CAPTURE(iterations);
                CHECK(first.report.steps == iterations);
                CHECK(largest_difference(first.q, truth.q) < 2e-5);
                for (const int threads : {2, 3, 7}) {
                    const auto other = infer(scene.terms, energies_of(scene.energies, Scene::kPoints),
                                             steps(iterations), threads);
                    CHECK(other.q == first.q);
                    CHECK(other.labels == first.labels);
                }
            }
        }
    }
}

TEST_CASE("instruction sets agree within 1e-6") {
    const auto sets = instruction_sets();
    for (const std::size_t labels : {3, 21}) {
        REQUIRE(atrous::choose_instruction_set(sets[0].c_str()));
        const Scene baseline(labels);
        const auto first = infer(baseline.terms, energies_of(baseline.energies, Scene::kPoints), steps(5));
        for (const auto& set : sets) {
            REQUIRE(atrous::choose_instruction_set(set.c_str()));
            const Scene scene(labels);  // builds its filters with that set
            const auto other = infer(scene.terms, energies_of(scene.energies, Scene::kPoints), steps(5));
            CAPTURE(set);
            CHECK(largest_difference(other.q, std::vector<double>(first.q.begin(), first.q.end())) < 1e-6);
        }
    }
}

TEST_CASE("energy and entropy of each step") {
    for (const std::size_t labels : {1, 3, 21}) {
        const Scene scene(labels);
        const auto truth = scene.truth(4);
        Settings settings = steps(4);
        settings.trace = true;
        const auto got = infer(scene.terms, energies_of(scene.energies, Scene::kPoints), settings);
        CAPTURE(labels);
        REQUIRE(got.report.energy.size() == 5);
        REQUIRE(got.report.entropy.size() == 5);
        CHECK(relative_error(got.report.energy, truth.energy) < 1e-4);
        if (labels > 1) CHECK(relative_error(got.report.entropy, truth.entropy) < 1e-4);
        settings.trace = false;
        CHECK(infer(scene.terms, energies_of(scene.energies, Scene::kPoints), settings).q == got.q);
    }
}

TEST_CASE("probabilities stand for the energies of their logarithms, wherever they lie") {
    const Scene scene(5);
    Random random(8);
    std::vector<float> p = random.uniforms(5 * Scene::kPoints), strided(2 * 3 * p.size()), logs(p);
    p[3] = 0.0f;
    for (std::size_t c = 0; c < 5; ++c)
        for (std::size_t i = 0; i < Scene::kPoints; ++i) {
            const std::size_t at = c * Scene::kPoints + i;
            logs[at] = -std::log(std::max(p[at], std::numeric_limits<float>::min()));
            strided[2 * (i * 15 + c)] = p[at];
        }
    const auto q = infer(scene.terms, probabilities_of(p, Scene::kPoints), steps(5)).q;
    const auto from_logs = infer(scene.terms, energies_of(logs, Scene::kPoints), steps(5)).q;
    CHECK(largest_difference(q, std::vector<double>(from_logs.begin(), from_logs.end())) < 1e-5);
    Unary scattered = probabilities_of(p, Scene::kPoints);
    scattered.values = strided.data();
    scattered.label_stride = 2;
    scattered.point_stride = 30;
    CHECK(infer(scene.terms, scattered, steps(5)).q == q);
    Unary backward = scattered;  // the last label first
    backward.values = strided.data() + 8;
    backward.label_stride = -2;
    const std::vector<Term> symmetric(scene.terms.begin(), scene.terms.begin() + 1);
    const auto forth = infer(symmetric, scattered, steps(5)).q, back = infer(symmetric, backward, steps(5)).q;
    for (std::size_t c = 0; c < 5; ++c)
        for (std::size_t i = 0; i < Scene::kPoints; ++i)
            REQUIRE(back[(4 - c) * Scene::kPoints + i] ==
                    doctest::Approx(forth[c * Scene::kPoints + i]).epsilon(1e-5));
}

TEST_CASE("values that cannot be used are refused") {
    const Scene scene(3);
    for (const float bad : {NAN, INFINITY, -INFINITY, 2e30f, -2e30f})
        for (const std::size_t at : {std::size_t{0}, std::size_t{100}, 3 * Scene::kPoints - 1})
            for (const int threads : kThreads) {
                auto energies = scene.energies;
                energies[at] = bad;
                CHECK_THROWS_AS(infer(scene.terms, energies_of(energies, Scene::kPoints), steps(2), threads),
                                std::domain_error);
            }
    for (const float bad : {NAN, INFINITY, -1e-3f, 1.5f}) {
        std::vector<float> p(3 * Scene::kPoints, 0.3f);
        p[77] = bad;
        CHECK_THROWS_AS(infer(scene.terms, probabilities_of(p, Scene::kPoints), steps(2)), std::domain_error);
    }
}

TEST_CASE("extreme values leave finite probabilities that sum to 1") {
    const Scene scene(5);
    Random random(6);
    const float extremes[] = {0.0f, -0.0f, 1e30f, -1e30f, 1e-45f, -1e-45f, 1e-38f, 87.0f, -104.0f};
    for (int round = 0; round < 20; ++round) {
        auto energies = scene.energies;
        for (float& energy : energies) energy = extremes[random.bits() % std::size(extremes)];
        Settings settings = steps(3);
        settings.prune = round % 2 == 0 ? 0.0f : 0.01f;
        const auto q = infer(scene.terms, energies_of(energies, Scene::kPoints), settings).q;
        for (std::size_t i = 0; i < Scene::kPoints; ++i) {
            double sum = 0;
            for (std::size_t c = 0; c < 5; ++c) sum += q[c * Scene::kPoints + i];
            REQUIRE(sum == doctest::Approx(1.0).epsilon(1e-5));
        }
    }
    const std::vector<float> zeros(5 * Scene::kPoints, 0.0f);
    const auto q = infer(scene.terms, probabilities_of(zeros, Scene::kPoints), steps(0)).q;
    for (const float value : q) REQUIRE(value == doctest::Approx(0.2));
}

TEST_CASE("a tolerance ends the inference where nothing changes any more") {
    const Scene scene(4);
    const auto all = infer(scene.terms, energies_of(scene.energies, Scene::kPoints), steps(400));
    Settings settings = steps(400);
    settings.tolerance = 1e-5f;
    const auto few = infer(scene.terms, energies_of(scene.energies, Scene::kPoints), settings);
    CHECK(few.report.steps > 1);
    CHECK(few.report.steps < 100);
    CHECK(largest_difference(few.q, std::vector<double>(all.q.begin(), all.q.end())) < 1e-4);
    settings.tolerance = 1.0f;
    CHECK(infer(scene.terms, energies_of(scene.energies, Scene::kPoints), settings).report.steps == 1);
}

TEST_CASE("labels that die leave the inference, at its start and on the way") {
    constexpr std::size_t labels = 40;
    Random random(12);
    const auto features = random.normals(2 * Scene::kPoints, 0.3);
    for (const bool late : {false, true}) {
        // At the start all labels but three are hopeless, or all are possible and the kernel settles it.
        std::vector<float> energies = random.normals(labels * Scene::kPoints, 0.2);
        for (std::size_t c = 3; c < labels; ++c)
            for (std::size_t i = 0; i < Scene::kPoints; ++i)
                energies[c * Scene::kPoints + i] += late ? 1.5f : 20.0f;
        Term term{std::make_shared<atrous::BruteForce>(features.data(), 2, Tiles(Scene::kPoints)),
                  {},
                  std::vector<float>(Scene::kPoints, 0.3f),
                  late ? std::vector<float>{} : random.uniforms(labels)};
        term.weight = 1.0f;
        const std::vector<Term> terms{term};
        Settings settings = steps(10);
        const auto whole = infer(terms, energies_of(energies, Scene::kPoints), settings);
        CHECK(whole.report.active_labels.size() == labels);
        settings.prune = 1e-4f;
        settings.trace = true;
        const auto pruned = infer(terms, energies_of(energies, Scene::kPoints), settings);
        CAPTURE(late);
        CHECK(pruned.report.active_labels.size() < labels / 2);
        CHECK(pruned.report.energy.size() == 11);
        CHECK(largest_difference(pruned.q, std::vector<double>(whole.q.begin(), whole.q.end())) < 2e-2);
        CHECK(pruned.labels == whole.labels);
        std::vector<bool> kept(labels, false);
        for (const std::int32_t label : pruned.report.active_labels)
            kept[static_cast<std::size_t>(label)] = true;
        for (std::size_t at = 0; at < pruned.q.size(); ++at)
            if (!kept[at / Scene::kPoints]) REQUIRE(pruned.q[at] == 0.0f);
        for (const int threads : {1, 3, 7})
            CHECK(infer(terms, energies_of(energies, Scene::kPoints), settings, threads).q == pruned.q);
        settings.prune = 2.0f;  // whatever is asked, the likeliest labels stay
        const auto most = infer(terms, energies_of(energies, Scene::kPoints), settings);
        for (std::size_t i = 0; i < Scene::kPoints; ++i) {
            double sum = 0;
            for (std::size_t c = 0; c < labels; ++c) sum += most.q[c * Scene::kPoints + i];
            REQUIRE(sum == doctest::Approx(1.0).epsilon(1e-5));
        }
    }
}

TEST_CASE("labels that die without any kernel leave probabilities that sum to 1") {
    Random random(4);
    std::vector<float> energies = random.normals(30 * Scene::kPoints, 0.1);
    for (std::size_t at = 6 * Scene::kPoints; at < energies.size(); ++at) energies[at] += 4.0f;
    Settings settings = steps(3);
    settings.prune = 0.1f;
    const auto result = infer({}, energies_of(energies, Scene::kPoints), settings);
    CHECK(result.report.active_labels.size() < 30);
    const auto& q = result.q;
    for (std::size_t i = 0; i < Scene::kPoints; ++i) {
        double sum = 0;
        for (std::size_t c = 0; c < 30; ++c) sum += q[c * Scene::kPoints + i];
        REQUIRE(sum == doctest::Approx(1.0).epsilon(1e-5));
    }
}

TEST_CASE("more points than a group: the same bits for any number of threads, labels pruned or not") {
    constexpr std::size_t points = 200 * 180;
    Random random(3);
    const std::vector<Term> terms{
        {std::make_shared<atrous::GridGaussian>(std::vector<std::int64_t>{200, 180},
                                                std::vector<double>{3.0, 3.0}, 1e-7),
         {},
         std::vector<float>(points, 0.05f),
         {},
         {},
         2.8f}};
    const auto energies = random.normals(6 * points, 2.0);
    for (const float prune : {0.0f, 0.3f}) {
        Settings settings = steps(2);
        settings.prune = prune;
        const auto first = infer(terms, energies_of(energies, points), settings, 1);
        for (const int threads : {2, 3, 7}) {
            const auto other = infer(terms, energies_of(energies, points), settings, threads);
            CHECK(other.q == first.q);
            CHECK(other.labels == first.labels);
            CHECK(other.report.active_labels == first.report.active_labels);
        }
    }
}

TEST_CASE("no term, no step, one point") {
    const std::vector<float> energies = {0.0f, 1.0f, 2.0f};
    const auto q = infer({}, energies_of(energies, 1), steps(3)).q;
    CHECK(q[0] == doctest::Approx(0.66524096));
    CHECK(q[1] == doctest::Approx(0.24472847));
    CHECK(q[2] == doctest::Approx(0.09003057));
    CHECK(infer({}, energies_of(energies, 1), steps(0)).q == q);
    CHECK(infer({}, energies_of(energies, 1), steps(0)).labels == std::vector<std::int32_t>{0});
}

TEST_CASE("an inference that is interrupted can be run again") {
    const Scene scene(21);
    const auto truth = infer(scene.terms, energies_of(scene.energies, Scene::kPoints), steps(20));
    for (const int threads : kThreads) {
        questions_left = 2;
        CHECK_THROWS_AS(infer(scene.terms, energies_of(scene.energies, Scene::kPoints),
                              steps(std::numeric_limits<int>::max()), threads, ask),
                        atrous::Interrupted);
        questions_left = std::numeric_limits<int>::max();
        CHECK(infer(scene.terms, energies_of(scene.energies, Scene::kPoints), steps(20), threads, ask).q ==
              truth.q);
    }
}
