// Labels that leave parts of an image.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gaussian/separable.hpp"
#include "lattice/lattice.hpp"
#include "mean_field/inference.hpp"
#include "random.hpp"
#include "reference.hpp"
#include "scene.hpp"

using namespace testing;
using atrous::Settings;
using atrous::Term;
using atrous::ThreadPool;
using atrous::Tiles;
using atrous::Unary;

namespace {

// A picture of several tiles, whose labels each rule a stripe across it and are improbable far from there.
struct Picture {
    static constexpr std::int64_t kHeight = 140, kWidth = 150, kPoints = kHeight * kWidth;

    explicit Picture(std::int64_t count, bool spatial = true) : labels(count) {
        Random random(3);
        const auto noise = random.normals(static_cast<std::size_t>(3 * kPoints), 6.0);
        const auto doubt = random.normals(static_cast<std::size_t>(labels * kPoints), 0.7);
        std::vector<std::uint8_t> image;
        for (std::int64_t p = 0; p < kPoints; ++p)
            for (int c = 0; c < 3; ++c)
                image.push_back(static_cast<std::uint8_t>(
                    std::clamp(stripe(p) * 25.0 + noise[static_cast<std::size_t>(3 * p + c)], 0.0, 255.0)));
        for (std::int64_t c = 0; c < labels; ++c)
            for (std::int64_t p = 0; p < kPoints; ++p)
                energies.push_back(doubt[energies.size()] +
                                   2.0f * static_cast<float>(std::abs(c - stripe(p))));
        ThreadPool pool(2);
        const auto lattice = std::make_shared<atrous::Lattice>(
            pool, atrous::ImageFeatures(image.data(), kHeight, kWidth, 20, 20, {10, 10, 10}));
        const auto grid = std::make_shared<atrous::GridGaussian>(std::vector<std::int64_t>{kHeight, kWidth},
                                                                 std::vector<double>{2, 3}, 1e-4);
        if (spatial) add(grid, 2.0f);
        add(lattice, 3.0f);
    }

    std::int64_t stripe(std::int64_t point) const { return point % kWidth * labels / kWidth; }

    void add(std::shared_ptr<const atrous::Filter> filter, float weight) {
        const std::vector<float> ones(kPoints, 1.0f);
        std::vector<float> after = applied(*filter, ones, 2);
        for (float& factor : after) factor = weight / factor;
        terms.push_back({std::move(filter), {}, std::move(after), {}, {}, weight});
    }

    Unary unary() const { return {energies.data(), labels, kPoints, kPoints, 1, true, -1e30f, 1e30f}; }

    std::int64_t labels;
    std::vector<float> energies;
    std::vector<Term> terms;
};

Result infer(const std::vector<Term>& terms, const Unary& unary, float prune, int threads = 2,
             int iterations = 6, bool trace = false) {
    ThreadPool pool(threads);
    Settings settings;
    settings.iterations = iterations;
    settings.prune = prune;
    settings.trace = trace;
    Result result(unary.labels, unary.points);
    result.report = atrous::infer(pool, terms, Tiles(unary.points, Picture::kWidth), unary, settings,
                                  {result.q.data(), unary.points, 1, result.labels.data()});
    return result;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    float most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

double share_that_differs(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
    double count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
    return count / static_cast<double>(a.size());
}

}  // namespace

TEST_CASE("a bound that no label is below gives what keeping all labels gives") {
    for (const std::int64_t labels : {2, 3, 9, 26, 70}) {
        const Picture picture(labels);
        const Result whole = infer(picture.terms, picture.unary(), 0.0f);
        const Result local = infer(picture.terms, picture.unary(), 1e-20f);
        CAPTURE(labels);
        CHECK(local.report.active_labels.size() == static_cast<std::size_t>(labels));
        CHECK(local.report.steps == 6);
        // The lattice's rows may be of 16 bits in one and not in the other: they are narrower in one.
        CHECK(largest_difference(whole.q, local.q) < (labels <= 4 ? 1e-5f : 2e-3f));
        CHECK(share_that_differs(whole.labels, local.labels) < 1e-3);
    }
}

TEST_CASE("labels leave the tiles in which they are improbable, and little changes") {
    for (const bool spatial : {true, false}) {
        const Picture picture(9, spatial);
        const Result whole = infer(picture.terms, picture.unary(), 0.0f);
        const Result local = infer(picture.terms, picture.unary(), 0.05f);
        CAPTURE(spatial);
        CHECK(local.report.active_labels.size() == 9);
        const auto zeros = std::count(local.q.begin(), local.q.end(), 0.0f);
        CHECK(zeros > static_cast<std::ptrdiff_t>(local.q.size() / 15));
        CHECK(largest_difference(whole.q, local.q) < 0.05f);
        CHECK(share_that_differs(whole.labels, local.labels) < 2e-3);
        for (std::size_t p = 0; p < Picture::kPoints; ++p) {
            double sum = 0;
            std::size_t best = 0;
            for (std::size_t c = 0; c < 9; ++c) {
                const float probability = local.q[c * Picture::kPoints + p];
                sum += probability;
                if (probability > local.q[best * Picture::kPoints + p]) best = c;
            }
            REQUIRE(sum == doctest::Approx(1.0).epsilon(1e-5));
            REQUIRE(local.labels[p] == static_cast<std::int32_t>(best));
        }
    }
}

TEST_CASE("labels that leave tiles: the same bits for any number of threads, near ones on any processor") {
    const Picture picture(13);
    std::vector<float> first;
    for (const std::string& name : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(name.c_str()));
        // A lattice holds the loops that were chosen when it was built.
        const Picture of_set(13);
        const Result one = infer(of_set.terms, of_set.unary(), 0.05f, 1);
        for (const int threads : kThreads)
            CHECK(infer(of_set.terms, of_set.unary(), 0.05f, threads).q == one.q);
        if (first.empty()) first = one.q;
        CAPTURE(name);
        CHECK(largest_difference(first, one.q) < 5e-3f);
    }
}

TEST_CASE("factors before a grid's kernel, in tiles of few labels and in decided ones") {
    Random random(4);
    const std::vector<float> factors = random.uniforms(Picture::kPoints);
    // The second kernel is computed on every second pixel.
    for (const double sigma : {2.0, 5.0}) {
        CAPTURE(sigma);
        std::vector<Result> results;
        // A volume of one slice is the same grid, but is filtered as a whole.
        for (const bool volume : {false, true}) {
            std::vector<std::int64_t> shape = {Picture::kHeight, Picture::kWidth};
            std::vector<double> sigmas = {sigma, sigma};
            if (volume) {
                shape.insert(shape.begin(), 1);
                sigmas.insert(sigmas.begin(), 1.0);
            }
            const auto grid = std::make_shared<atrous::GridGaussian>(shape, sigmas, 1e-4);
            CHECK(grid->takes_tiles() == !volume);
            Picture picture(12, false);
            picture.add(grid, 1.0f);
            for (atrous::Term& term : picture.terms) term.pre_scale = factors;
            results.push_back(infer(picture.terms, picture.unary(), 0.05f));
            for (const int threads : {1, 5})
                CHECK(infer(picture.terms, picture.unary(), 0.05f, threads).q == results.back().q);
        }
        CHECK(largest_difference(results[0].q, results[1].q) < 2e-3f);
        Picture other(12, false);
        other.add(std::make_shared<atrous::GridGaussian>(
                      std::vector<std::int64_t>{Picture::kHeight, Picture::kWidth},
                      std::vector<double>{sigma, sigma}, 1e-4),
                  1.0f);
        CHECK(largest_difference(results[0].q, infer(other.terms, other.unary(), 0.05f).q) > 0.02f);
    }
}

TEST_CASE("wide rows that get narrow on the way, with factors before a grid's kernel") {
    Picture picture(90);
    for (atrous::Term& term : picture.terms) term.pre_scale.assign(Picture::kPoints, 1.0f);
    // 70 labels are possible at first, and the kernels settle it.
    for (std::int64_t c = 20; c < 90; ++c)
        for (std::int64_t p = 0; p < Picture::kPoints; ++p)
            picture.energies[static_cast<std::size_t>(c * Picture::kPoints + p)] =
                2.8f + static_cast<float>(p % 7) * 0.01f;
    for (std::int64_t at = 0; at < 20 * Picture::kPoints; ++at)
        picture.energies[static_cast<std::size_t>(at)] = static_cast<float>(at % 11) * 0.01f;
    const Result whole = infer(picture.terms, picture.unary(), 0.0f);
    const Result pruned = infer(picture.terms, picture.unary(), 0.05f);
    CHECK(pruned.report.active_labels.size() <= 64);
    CHECK(largest_difference(whole.q, pruned.q) < 0.05f);
    for (const int threads : {1, 5})
        CHECK(infer(picture.terms, picture.unary(), 0.05f, threads).q == pruned.q);
}

TEST_CASE("a unary term computed in place: the same bits") {
    for (const std::int64_t labels : {2, 9, 26})
        for (const bool prune : {true, false})
            for (const int threads : {1, 3}) {
                const Picture picture(labels);
                const Result apart = infer(picture.terms, picture.unary(), prune ? 0.05f : 0.0f);
                std::vector<float> planes = picture.energies;
                Unary unary = picture.unary();
                unary.values = planes.data();
                unary.in_place = true;
                ThreadPool pool(threads);
                Settings settings;
                settings.iterations = 6;
                settings.prune = prune ? 0.05f : 0.0f;
                std::vector<std::int32_t> found(Picture::kPoints, -1);
                const atrous::Report report =
                    atrous::infer(pool, picture.terms, Tiles(unary.points, Picture::kWidth), unary, settings,
                                  {planes.data(), unary.points, 1, found.data()});
                CAPTURE(labels);
                CAPTURE(prune);
                CAPTURE(threads);
                CHECK(planes == apart.q);
                CHECK(found == apart.labels);
                CHECK(report.active_labels == apart.report.active_labels);
            }
}

TEST_CASE("tiles in which all but one label are improbable are of that label") {
    Picture picture(5);
    for (std::int64_t p = 0; p < Picture::kPoints; ++p)
        for (std::int64_t c = 1; c < 5; ++c)
            if (p < Picture::kPoints / 2)
                picture.energies[static_cast<std::size_t>(c * Picture::kPoints + p)] += 40.0f;
    const Result whole = infer(picture.terms, picture.unary(), 0.0f);
    const Result local = infer(picture.terms, picture.unary(), 0.05f);
    CHECK(local.q[0] == 1.0f);
    CHECK(local.labels[0] == 0);
    CHECK(largest_difference(whole.q, local.q) < 0.05f);
    CHECK(share_that_differs(whole.labels, local.labels) < 2e-3);

    for (std::int64_t p = 0; p < Picture::kPoints; ++p)
        for (std::int64_t c = 1; c < 5; ++c)
            picture.energies[static_cast<std::size_t>(c * Picture::kPoints + p)] += 80.0f;
    const Result one = infer(picture.terms, picture.unary(), 0.05f);
    CHECK(one.report.active_labels == std::vector<std::int32_t>{0});
    CHECK(std::all_of(one.q.begin(), one.q.begin() + Picture::kPoints, [](float q) { return q == 1.0f; }));
}

TEST_CASE("labels that leave tiles: energies, and the same bits with them") {
    Picture picture(5);
    for (std::int64_t p = 0; p < Picture::kPoints / 2; ++p)
        for (std::int64_t c = 1; c < 5; ++c)
            picture.energies[static_cast<std::size_t>(c * Picture::kPoints + p)] += 40.0f;
    const Result plain = infer(picture.terms, picture.unary(), 0.05f);
    const Result traced = infer(picture.terms, picture.unary(), 0.05f, 2, 6, true);
    CHECK(traced.q == plain.q);
    CHECK(plain.report.energy.empty());
    const Result whole = infer(picture.terms, picture.unary(), 0.0f, 2, 6, true);
    REQUIRE(traced.report.energy.size() == 7);
    for (std::size_t step = 0; step < 7; ++step) {
        CHECK(traced.report.energy[step] == doctest::Approx(whole.report.energy[step]).epsilon(0.02));
        CHECK(traced.report.entropy[step] == doctest::Approx(whole.report.entropy[step]).epsilon(0.1));
    }
    CHECK(infer(picture.terms, picture.unary(), 0.05f, 1, 6, true).report.energy == traced.report.energy);
}

TEST_CASE("a label spreads into a tile from one beside") {
    // Label 1 rules the left, and of the right the network says next to nothing: the kernels must settle it.
    Picture picture(2);
    for (std::int64_t p = 0; p < Picture::kPoints; ++p) {
        const bool left = p % Picture::kWidth < 60;
        picture.energies[static_cast<std::size_t>(p)] = left ? 6.0f : 0.0f;
        picture.energies[static_cast<std::size_t>(Picture::kPoints + p)] = left ? 0.0f : 5.5f;
    }
    const Result whole = infer(picture.terms, picture.unary(), 0.0f);
    const Result local = infer(picture.terms, picture.unary(), 0.05f);
    CHECK(largest_difference(whole.q, local.q) < 0.05f);
}

TEST_CASE("labels that leave tiles: values that cannot be used, wherever they are") {
    Picture picture(4);
    for (const std::int64_t at : {std::int64_t{0}, Picture::kPoints - 1, 3 * Picture::kPoints + 77}) {
        Picture bad(picture);
        bad.energies[static_cast<std::size_t>(at)] = NAN;
        CHECK_THROWS_AS(infer(bad.terms, bad.unary(), 0.05f), std::domain_error);
    }
}
