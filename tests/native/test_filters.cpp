#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "brute_force.hpp"
#include "gaussian/separable.hpp"
#include "lattice/lattice.hpp"
#include "random.hpp"
#include "reference.hpp"

using atrous::ArrayFeatures;
using atrous::BruteForce;
using atrous::GridGaussian;
using atrous::Lattice;
using atrous::ThreadPool;
using atrous::Tiles;
using namespace testing;

namespace {

constexpr double kLeast = 1.0 / (1 << 25);

Tiles tiles_of(std::size_t points, std::size_t line = 0) {
    return Tiles(static_cast<std::int64_t>(points), static_cast<std::int64_t>(line));
}

// line: points in each, if they form an image.
Lattice lattice(const std::vector<float>& features, int dimensions, int threads = 2, std::size_t line = 0) {
    ThreadPool pool(threads);
    const std::size_t points = features.size() / static_cast<std::size_t>(dimensions);
    return Lattice(pool, ArrayFeatures(features.data(), dimensions, tiles_of(points, line)));
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Smooth colors and steps, as in a photograph, over a grid: neighbors often share a simplex.
std::vector<float> photo_features(Random& random, std::size_t height, std::size_t width) {
    std::vector<float> features(5 * height * width);
    float* feature = features.data();
    for (std::size_t y = 0; y < height; ++y)
        for (std::size_t x = 0; x < width; ++x, ++feature) {
            const bool inside = (x / 40 + y / 30) % 2 == 0;
            const double colors[] = {0.03 * static_cast<double>(x), 0.03 * static_cast<double>(y),
                                     (inside ? 30.0 : 4.0) + 0.05 * random.normal(),
                                     (inside ? 9.0 : 20.0) + 0.05 * random.normal(),
                                     10.0 + 0.02 * static_cast<double>(x + y) + 0.05 * random.normal()};
            for (std::size_t f = 0; f < 5; ++f) feature[f * height * width] = static_cast<float>(colors[f]);
        }
    return features;
}

}  // namespace

TEST_CASE("brute force is the sum over all pairs") {
    for (const std::size_t dimensions : {1, 5, 40})
        for (const std::size_t points : {1, 2, 127, 129, 300}) {
            Random random(points);
            const auto features = random.normals(dimensions * points, 0.5);
            const Matrix kernel = gaussian_matrix(features, dimensions);
            for (const std::size_t labels : {1, 4, 5, 21}) {
                const auto values = random.uniforms(labels * points);
                const auto truth = product(kernel, values);
                for (const auto& set : instruction_sets()) {
                    REQUIRE(atrous::choose_instruction_set(set.c_str()));
                    const BruteForce filter(features.data(), static_cast<int>(dimensions), tiles_of(points));
                    CAPTURE(set);
                    CAPTURE(dimensions);
                    CAPTURE(points);
                    CAPTURE(labels);
                    CHECK(relative_error(applied(filter, values, 2), truth) < 3e-6);
                }
            }
        }
}

TEST_CASE("the separable filter is the sum over all pairs of a grid") {
    const std::vector<std::vector<std::int64_t>> shapes = {
        {1}, {7}, {300}, {1, 1}, {1, 30}, {30, 1}, {11, 23}, {4, 1, 5}, {5, 7, 6}, {3, 2, 4, 5}};
    for (const auto& shape : shapes)
        for (const double sigma : {1e-30, 0.4, 3.0, 50.0, 1e30}) {
            std::vector<double> sigmas(shape.size(), sigma);
            sigmas[0] *= 1.5;
            const Matrix kernel = grid_matrix(shape, sigmas);
            for (const std::size_t labels : {1, 3, 9}) {
                Random random(labels);
                const auto values = random.uniforms(labels * kernel.size());
                const auto truth = product(kernel, values);
                for (const auto& set : instruction_sets()) {
                    REQUIRE(atrous::choose_instruction_set(set.c_str()));
                    const GridGaussian filter(shape, sigmas, kLeast);
                    CAPTURE(set);
                    CAPTURE(shape.size());
                    CAPTURE(shape[0]);
                    CAPTURE(sigma);
                    CAPTURE(labels);
                    REQUIRE(filter.points() == static_cast<std::int64_t>(kernel.size()));
                    CHECK(relative_error(applied(filter, values, 3), truth) < 3e-6);
                }
            }
        }
}

TEST_CASE("the separable filter of images of any shape, some larger than its tiles") {
    const std::vector<std::vector<std::int64_t>> shapes = {
        {16, 1000}, {20, 300}, {29, 140}, {61, 70}, {150, 290}};
    for (const auto& shape : shapes)
        for (const std::size_t labels : {1, 4, 8, 40, 64, 72})
            for (const double sigma : {1.0, 4.0, 12.0}) {
                const auto height = static_cast<std::size_t>(shape[0]),
                           width = static_cast<std::size_t>(shape[1]);
                if (labels * height * width > 700000) continue;
                Random random(labels);
                const auto values = random.uniforms(labels * height * width);
                const auto filtered = applied(GridGaussian(shape, {1.5 * sigma, sigma}, kLeast), values, 3);
                double most = 0;
                for (std::size_t sample = 0; sample < 12; ++sample) {
                    const std::size_t y = random.bits() % height, x = random.bits() % width;
                    const std::size_t plane = random.bits() % labels * height * width;
                    double sum = 0;
                    for (std::size_t i = 0; i < height; ++i)
                        for (std::size_t j = 0; j < width; ++j) {
                            const double dy =
                                (static_cast<double>(i) - static_cast<double>(y)) / (1.5 * sigma);
                            const double dx = (static_cast<double>(j) - static_cast<double>(x)) / sigma;
                            if (std::abs(dx) < 9 && std::abs(dy) < 9)
                                sum += std::exp(-0.5 * (dy * dy + dx * dx)) * values[plane + i * width + j];
                        }
                    most = std::max(most, std::abs(filtered[plane + y * width + x] - sum) / sum);
                }
                CAPTURE(height);
                CAPTURE(width);
                CAPTURE(labels);
                CAPTURE(sigma);
                CHECK(most < 3e-6);
            }
}

TEST_CASE("the lattice is the plain one, in up to 16 dimensions") {
    for (const int dimensions : {1, 2, 3, 5, 6, 9, 15, 16})
        for (const std::size_t points : {1, 31, 33, 120}) {
            Random random(points + static_cast<std::size_t>(dimensions));
            const auto features = random.normals(static_cast<std::size_t>(dimensions) * points, 1.5);
            const auto values = random.uniforms(5 * points);
            const PlainLattice plain(features, static_cast<std::size_t>(dimensions));
            const auto truth = plain.filter(values);
            for (const auto& set : instruction_sets()) {
                REQUIRE(atrous::choose_instruction_set(set.c_str()));
                const Lattice filter = lattice(features, dimensions);
                CAPTURE(set);
                CAPTURE(dimensions);
                CAPTURE(points);
                CHECK(filter.vertices() == plain.vertices());
                CHECK(relative_error(applied(filter, values, 2), truth) < 1e-5);
            }
        }
}

TEST_CASE("rows of any width") {
    Random random(1);
    const auto features = random.normals(3 * 70, 1.0);
    const Lattice filter = lattice(features, 3);
    const PlainLattice plain(features, 3);
    const BruteForce brute(features.data(), 3, tiles_of(70));
    const Matrix kernel = gaussian_matrix(features, 3);
    for (const std::size_t labels : {1, 2, 4, 5, 8, 9, 16, 17, 24, 25, 31, 33, 64, 300, 4100}) {
        const auto values = random.uniforms(labels * 70);
        CAPTURE(labels);
        CHECK(relative_error(applied(filter, values, 2), plain.filter(values)) < 1e-5);
        CHECK(relative_error(applied(brute, values, 2), product(kernel, values)) < 3e-6);
    }
}

TEST_CASE("the lattice comes near the Gaussian that it stands for") {
    for (const int dimensions : {1, 2, 3}) {
        Random random(3);
        constexpr std::size_t points = 1200;
        auto features = random.uniforms(static_cast<std::size_t>(dimensions) * points);
        for (float& feature : features) feature *= 4.0f;
        std::vector<float> values(points);
        for (std::size_t p = 0; p < points; ++p) values[p] = features[p] > 2.0f ? 1.0f : 0.25f;
        const auto truth = product(gaussian_matrix(features, static_cast<std::size_t>(dimensions)), values);
        const auto filtered = applied(lattice(features, dimensions), values, 2);
        double got = 0, expected = 0;
        for (std::size_t p = 0; p < points; ++p) got += filtered[p], expected += truth[p];
        CAPTURE(dimensions);
        CHECK(got / expected == doctest::Approx(1.0).epsilon(0.05));
        CHECK(relative_error(filtered, truth) < 0.12);
    }
}

TEST_CASE("many tiles: the plain lattice's result, the same bits for any number of threads") {
    Random random(9);
    const auto features = photo_features(random, 165, 210);
    const auto values = random.uniforms(165 * 210);
    const PlainLattice plain(features, 5);
    const auto truth = plain.filter(values);
    for (const auto& set : instruction_sets()) {
        REQUIRE(atrous::choose_instruction_set(set.c_str()));
        for (const std::size_t line : {210, 0}) {  // squares of an image, or runs of points
            CAPTURE(set);
            CAPTURE(line);
            const auto first = applied(lattice(features, 5, 1, line), values, 1);
            CHECK(relative_error(first, truth) < 1e-4);
            for (const int threads : {2, 3, 7}) {
                CAPTURE(threads);
                CHECK(same_bits(applied(lattice(features, 5, threads, line), values, threads), first));
            }
        }
    }
}

TEST_CASE("points at the border of a tile") {
    for (const std::size_t points : {3839, 3840, 3841, 7681}) {
        Random random(points);
        const auto features = random.uniforms(2 * points);
        const auto values = random.uniforms(points);
        const auto truth = PlainLattice(features, 2).filter(values);
        for (const std::size_t line : {std::size_t{0}, std::size_t{16}, std::size_t{100}, points / 2}) {
            CAPTURE(points);
            CAPTURE(line);
            CHECK(relative_error(applied(lattice(features, 2, 3, line), values, 3), truth) < 1e-4);
        }
    }
}

TEST_CASE("the lattice of an image is that of its positions and colors") {
    for (const std::size_t width : {1, 15, 33, 150}) {
        const std::size_t height = 40, points = height * width;
        Random random(width);
        std::vector<std::uint8_t> image(3 * points);
        for (std::uint8_t& value : image) value = static_cast<std::uint8_t>(random.bits());
        std::vector<float> features(5 * points);
        const std::vector<double> srgb = {5.0, 8.5, 13.0};
        for (std::size_t p = 0; p < points; ++p) {
            features[p] = static_cast<float>(static_cast<double>(p % width) / 3.0);
            features[points + p] = static_cast<float>(static_cast<double>(p / width) / 7.0);
            for (std::size_t c = 0; c < 3; ++c)
                features[(2 + c) * points + p] =
                    static_cast<float>(image[3 * p + c]) / static_cast<float>(srgb[c]);
        }
        ThreadPool pool(2);
        const Lattice of_image(pool, atrous::ImageFeatures(image.data(), static_cast<std::int64_t>(height),
                                                           static_cast<std::int64_t>(width), 3.0, 7.0, srgb));
        const Lattice of_array = lattice(features, 5, 2, width);
        const auto values = random.uniforms(4 * points);
        CAPTURE(width);
        CHECK(of_image.vertices() == of_array.vertices());
        CHECK(relative_error(applied(of_image, values, 2), applied(of_array, values, 2)) < 1e-6);
    }
}

TEST_CASE("a lattice has as many rows as it is allowed, or is refused") {
    Random random(17);
    const auto features = photo_features(random, 165, 210);
    const Tiles tiles(165 * 210, 210);
    const atrous::ArrayFeatures given(features.data(), 5, tiles);
    for (const int threads : {1, 2, 5}) {
        CAPTURE(threads);
        ThreadPool pool(threads);
        const std::size_t rows = Lattice(pool, given).rows();
        CHECK(rows > Lattice(pool, given).vertices());
        CHECK(rows <= 6 * 165 * 210);
        CHECK(Lattice(pool, given, nullptr, rows).rows() == rows);
        for (const std::size_t most : {std::size_t{0}, std::size_t{1000}, rows - 1})
            CHECK_THROWS_AS(Lattice(pool, given, nullptr, most), atrous::LatticeTooLarge);
    }
}

TEST_CASE("no values stand for ones") {
    Random random(5);
    const auto features = random.normals(2 * 500, 1.0);
    ThreadPool pool(3);
    const Lattice of_lattice = lattice(features, 2);
    const GridGaussian grid({20, 25}, {2.0, 3.0}, kLeast);
    const BruteForce brute(features.data(), 2, tiles_of(500));
    for (const atrous::Filter* filter :
         {static_cast<const atrous::Filter*>(&of_lattice), static_cast<const atrous::Filter*>(&grid),
          static_cast<const atrous::Filter*>(&brute)}) {
        std::vector<float> mass(500);
        atrous::mass(pool, *filter, mass.data());
        CHECK(mass == applied(*filter, std::vector<float>(500, 1.0f), 2));
    }
}

TEST_CASE("all points in one place, and all points far apart") {
    for (const int dimensions : {1, 5, 16}) {
        const auto width = static_cast<std::size_t>(dimensions);
        std::vector<float> together(width * 1000, 0.3f);
        const std::vector<float> ones(1000, 1.0f);
        const auto filtered = applied(lattice(together, dimensions), ones, 2);
        CAPTURE(dimensions);
        CHECK(*std::min_element(filtered.begin(), filtered.end()) > 0.0f);
        CHECK(relative_error(filtered, PlainLattice(together, width).filter(ones)) < 1e-5);

        std::vector<float> apart(width * 100);
        for (std::size_t i = 0; i < apart.size(); ++i) apart[i] = 150.0f * static_cast<float>(i % 100) + 0.1f;
        const std::vector<float> few(100, 1.0f);
        for (const float mass : applied(lattice(apart, dimensions), few, 2)) {
            CHECK(mass > 0.0f);
            CHECK(mass < 5.0f);
        }
    }
}

TEST_CASE("features that are too large are refused, whichever they are") {
    for (const int dimensions : {1, 3, 16})
        for (int bad = 0; bad < dimensions; ++bad)
            for (const float value : {1e7f, -1e7f, 3e38f, -3e38f, INFINITY, -INFINITY}) {
                std::vector<float> features(static_cast<std::size_t>(dimensions) * 50, 0.5f);
                features[static_cast<std::size_t>(bad) * 50 + 20] = value;
                CAPTURE(dimensions);
                CAPTURE(bad);
                CAPTURE(value);
                CHECK_THROWS_AS(lattice(features, dimensions), std::overflow_error);
            }
}

TEST_CASE("features close to what is refused") {
    for (const int dimensions : {1, 2, 5, 16})
        for (const double size : {1e3, 1e4}) {
            Random random(11);
            const auto features = random.normals(static_cast<std::size_t>(dimensions) * 500, size);
            const std::vector<float> ones(500, 1.0f);
            CAPTURE(dimensions);
            CAPTURE(size);
            for (const float mass : applied(lattice(features, dimensions), ones, 2)) CHECK(mass > 0.0f);
        }
}

TEST_CASE("a filter serves several threads at once") {
    Random random(2);
    const auto features = photo_features(random, 40, 60);
    const Lattice slow = lattice(features, 5);
    const GridGaussian grid({40, 60}, {3.0, 5.0}, kLeast);
    for (const atrous::Filter* filter :
         {static_cast<const atrous::Filter*>(&slow), static_cast<const atrous::Filter*>(&grid)}) {
        std::vector<std::vector<float>> values, alone, together(3);
        for (int i = 0; i < 3; ++i) {
            values.push_back(random.uniforms(static_cast<std::size_t>(4 + 5 * i) * 2400));
            alone.push_back(applied(*filter, values.back(), 1));
        }
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 3; ++i)
            threads.emplace_back([&, i] { together[i] = applied(*filter, values[i], 2); });
        for (auto& thread : threads) thread.join();
        for (std::size_t i = 0; i < 3; ++i) CHECK(same_bits(together[i], alone[i]));
    }
}
