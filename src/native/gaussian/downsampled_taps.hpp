// A wide Gaussian on a grid of every second point.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include "simd/kernels.hpp"

namespace atrous {

// exp(-t^2 / (2 sigma^2)) as three short convolutions: from the points to cells at every second point, from
// cell to cell, and back to the points. The first and the last are the same for all sigmas: they suppress
// most of the aliasing.
struct CoarseTaps {
    // Found by minimizing the error at sigma = 3 together with five taps between cells; ends at
    // `kHalvingReach`.
    static constexpr std::array<float, kHalvingReach + 1> kToCells{1.0f, 0.82761f, 0.45834f, 0.15531f,
                                                                   0.02462f};

    std::vector<double> between;  // cells, from 0 on; empty if there is no such approximation

    // At any point, the error of the weights is at most `error` of their sum.
    CoarseTaps(double sigma, double error) {
        if (error < kParity) return;
        // Weights that end within 3.7 sigma are never exact enough.
        for (int reach = std::max(2, static_cast<int>(1.9 * sigma) - 4);
             reach <= 2 * sigma + 1 && sigma <= kWidest; ++reach) {
            fit(sigma, reach);
            if (misplaced(sigma) <= error) return;
        }
        between.clear();
    }

  private:
    static constexpr double kWidest = 64.0;
    // Relative difference of the weights with which even and odd points reach the cells: a lower bound of the
    // error for any weights between cells.
    static constexpr double kParity = [] {
        const double even = double{kToCells[0]} + 2.0 * (double{kToCells[2]} + kToCells[4]);
        const double odd = 2.0 * (double{kToCells[1]} + kToCells[3]);
        return (even > odd ? even - odd : odd - even) / (even + odd);
    }();

    static double to_cells(int distance) {
        return std::abs(distance) <= kHalvingReach
                   ? double{kToCells[static_cast<std::size_t>(std::abs(distance))]}
                   : 0.0;
    }

    static int end(int reach) { return 2 * (reach + kHalvingReach); }

    // The weight that a tap between cells gives the points `from` (0 or 1) and from + distance.
    static double share(int from, int distance, int tap) {
        double sum = 0;
        for (int cell = -kHalvingReach; cell <= kHalvingReach; ++cell) {
            const double begin = to_cells(from - 2 * cell);
            sum += begin * to_cells(from + distance - 2 * (cell + tap));
            if (tap != 0) sum += begin * to_cells(from + distance - 2 * (cell - tap));
        }
        return sum;
    }

    // Least squares.
    void fit(double sigma, int reach) {
        const auto n = static_cast<std::size_t>(reach) + 1;
        std::vector<std::vector<double>> normal(n, std::vector<double>(n + 1, 0.0));
        std::vector<double> row(n);
        for (int from = 0; from < 2; ++from)
            for (int distance = -end(reach); distance <= end(reach); ++distance) {
                for (std::size_t t = 0; t < n; ++t) row[t] = share(from, distance, static_cast<int>(t));
                const double weight = std::exp(-0.5 * distance * distance / (sigma * sigma));
                for (std::size_t i = 0; i < n; ++i) {
                    for (std::size_t j = 0; j < n; ++j) normal[i][j] += row[i] * row[j];
                    normal[i][n] += row[i] * weight;
                }
            }
        for (std::size_t i = 0; i < n; ++i)  // a positive definite matrix needs no pivots
            for (std::size_t below = 0; below < n; ++below) {
                const double factor = normal[below][i] / normal[i][i];
                for (std::size_t j = i; below != i && j <= n; ++j) normal[below][j] -= factor * normal[i][j];
            }
        between.resize(n);
        for (std::size_t i = 0; i < n; ++i) between[i] = normal[i][n] / normal[i][i];
    }

    double misplaced(double sigma) const {
        const int reach = static_cast<int>(between.size()) - 1;
        const int last = std::max(end(reach), static_cast<int>(8 * sigma));
        double most = 0;
        for (int from = 0; from < 2; ++from) {
            double sum = 0, all = 0;
            for (int distance = -last; distance <= last; ++distance) {
                const double weight = std::exp(-0.5 * distance * distance / (sigma * sigma));
                double found = 0;
                for (std::size_t t = 0; t < between.size() && std::abs(distance) <= end(reach); ++t)
                    found += between[t] * share(from, distance, static_cast<int>(t));
                sum += std::abs(found - weight);
                all += weight;
            }
            most = std::max(most, sum / all);
        }
        return most;
    }
};

}  // namespace atrous
