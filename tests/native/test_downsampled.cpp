// The spatial kernel on a grid of half the pixels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gaussian/downsampled_taps.hpp"
#include "gaussian/separable.hpp"
#include "mean_field/inference.hpp"
#include "random.hpp"
#include "reference.hpp"

using namespace testing;
using atrous::Settings;
using atrous::Term;
using atrous::ThreadPool;
using atrous::Tiles;
using atrous::Unary;

namespace {

constexpr double kBesideLattice = 1.0 / (1 << 13), kOfFloats = 1.0 / (1 << 25);

// Labels that rule stripes across a picture whose tiles are cut at odd lines and columns too.
struct Stripes {
    Stripes(std::int64_t count, std::int64_t high, std::int64_t wide)
        : labels(count), height(high), width(wide) {
        Random random(7);
        const auto doubt = random.normals(static_cast<std::size_t>(labels * points()), 1.5);
        for (std::int64_t c = 0; c < labels; ++c)
            for (std::int64_t p = 0; p < points(); ++p)
                energies.push_back(doubt[energies.size()] +
                                   2.0f * static_cast<float>(std::abs(c - p % width * labels / width)));
    }

    std::int64_t points() const { return height * width; }

    std::vector<float> marginals(double error, float prune, int threads) const {
        const auto grid = std::make_shared<atrous::GridGaussian>(std::vector<std::int64_t>{height, width},
                                                                 std::vector<double>{4, 3}, error);
        const std::vector<Term> terms{
            {grid, {}, std::vector<float>(static_cast<std::size_t>(points()), 0.04f), {}, {}, 3.0f}};
        Settings settings;
        settings.iterations = 5;
        settings.prune = prune;
        std::vector<float> q(static_cast<std::size_t>(labels * points()), -1.0f);
        ThreadPool pool(threads);
        atrous::infer(pool, terms, Tiles(points(), width),
                      {energies.data(), labels, points(), points(), 1, true, -1e30f, 1e30f}, settings,
                      {q.data(), points(), 1, nullptr});
        return q;
    }

    std::int64_t labels, height, width;
    std::vector<float> energies;
};

}  // namespace

TEST_CASE("weights on half the grid are those of the Gaussian to the error asked for, or there are none") {
    for (const double sigma : {2.9, 3.0, 4.0, 7.5}) {
        CAPTURE(sigma);
        CHECK(!atrous::CoarseTaps(sigma, kBesideLattice).between.empty());
        CHECK(atrous::CoarseTaps(sigma, kOfFloats).between.empty());
    }
    for (const double sigma : {0.5, 1.0, 2.0, 1e6}) {
        CAPTURE(sigma);
        CHECK(atrous::CoarseTaps(sigma, kBesideLattice).between.empty());
    }
}

TEST_CASE("inference on half the grid is that on the whole, for every instruction set") {
    for (const auto& set : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(set.c_str()));
        for (const std::int64_t labels : {2, 3, 9, 26})
            for (const auto& [height, width] :
                 {std::pair<std::int64_t, std::int64_t>{121, 135}, {64, 61}, {17, 200}})
                for (const float prune : {0.0f, 0.05f}) {
                    const Stripes stripes(labels, height, width);
                    CAPTURE(set);
                    CAPTURE(labels);
                    CAPTURE(height);
                    CAPTURE(prune);
                    const auto coarse = stripes.marginals(kBesideLattice, prune, 1);
                    const auto exact = stripes.marginals(kOfFloats, prune, 2);
                    float most = 0.0f;
                    for (std::size_t i = 0; i < exact.size(); ++i)
                        most = std::max(most, std::abs(coarse[i] - exact[i]));
                    CHECK(most < 2e-3f);
                    CHECK(most > 0.0f);  // it is another computation
                    CHECK(stripes.marginals(kBesideLattice, prune, 3) == coarse);
                }
    }
    REQUIRE(atrous::choose_instruction_set(instruction_sets().back().c_str()));
}
