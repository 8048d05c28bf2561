// The filters and the mean field once more, plainly and in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "apply.hpp"
#include "mean_field/mean_field.hpp"

namespace testing {

using Matrix = std::vector<std::vector<double>>;

// K with K[i][j] = exp(-|f_i - f_j|^2 / 2); features are [dimension][point].
inline Matrix gaussian_matrix(const std::vector<float>& features, std::size_t dimensions) {
    const std::size_t points = features.size() / dimensions;
    Matrix kernel(points, std::vector<double>(points));
    for (std::size_t i = 0; i < points; ++i)
        for (std::size_t j = 0; j < points; ++j) {
            double square = 0;
            for (std::size_t f = 0; f < dimensions; ++f) {
                const double difference = double{features[f * points + i]} - features[f * points + j];
                square += difference * difference;
            }
            kernel[i][j] = std::exp(-0.5 * square);
        }
    return kernel;
}

// The same for the points of a grid, whose last axis is contiguous.
inline Matrix grid_matrix(const std::vector<std::int64_t>& shape, const std::vector<double>& sigmas) {
    const auto points = static_cast<std::size_t>(
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, [](auto a, auto b) { return a * b; }));
    Matrix kernel(points, std::vector<double>(points));
    for (std::size_t i = 0; i < points; ++i)
        for (std::size_t j = 0; j < points; ++j) {
            double square = 0;
            std::size_t left = i, right = j;
            for (std::size_t axis = shape.size(); axis-- > 0;) {
                const auto length = static_cast<std::size_t>(shape[axis]);
                const double step = static_cast<double>(left % length) - static_cast<double>(right % length);
                square += step / sigmas[axis] * (step / sigmas[axis]);
                left /= length;
                right /= length;
            }
            kernel[i][j] = std::exp(-0.5 * square);
        }
    return kernel;
}

// K times values, which are [label][point].
inline std::vector<double> product(const Matrix& kernel, const std::vector<float>& values) {
    const std::size_t points = kernel.size();
    std::vector<double> sums(values.size());
    for (std::size_t first = 0; first < values.size(); first += points)
        for (std::size_t i = 0; i < points; ++i) {
            const double* row = kernel[i].data();
            double sum = 0;
            for (std::size_t j = 0; j < points; ++j) sum += row[j] * values[first + j];
            sums[first + i] = sum;
        }
    return sums;
}

// The permutohedral lattice of Adams, Baek and Davis (2010), with whole coordinates as the vertices' names.
class PlainLattice {
  public:
    PlainLattice(const std::vector<float>& features, std::size_t dimensions)
        : d_(dimensions), points_(features.size() / dimensions), corners_(points_) {
        for (std::size_t p = 0; p < points_; ++p) locate(features, p);
        link();
    }

    std::size_t vertices() const { return numbers_.size(); }

    std::vector<double> filter(const std::vector<float>& values) const {
        std::vector<double> filtered;
        for (std::size_t first = 0; first < values.size(); first += points_) {
            std::vector<double> at(vertices());
            for (std::size_t p = 0; p < points_; ++p)
                for (const auto& [vertex, weight] : corners_[p]) at[vertex] += weight * values[first + p];
            for (std::size_t axis = 0; axis <= d_; ++axis) at = blurred(at, axis);
            const double d = static_cast<double>(d_);
            const double scale = std::pow(4.0 * std::acos(-1.0) / 3, d / 2) * std::sqrt(d + 1) *
                                 std::pow(0.5, static_cast<double>(d_ + 1));
            for (const auto& corners : corners_) {
                double sum = 0;
                for (const auto& [vertex, weight] : corners) sum += weight * at[vertex];
                filtered.push_back(scale * sum);
            }
        }
        return filtered;
    }

  private:
    using Vertex = std::vector<int>;

    // Finds the vertex of remainder 0 that is nearest, and from it the others of the simplex.
    void locate(const std::vector<float>& features, std::size_t p) {
        const double side = static_cast<double>(d_ + 1);
        std::vector<double> x(d_ + 1);
        for (std::size_t j = 1; j <= d_; ++j) {
            const double along = static_cast<double>(j);
            const double scaled = features[(j - 1) * points_ + p] * side * std::sqrt(2.0 / 3.0) /
                                  std::sqrt(along * (along + 1.0));
            for (std::size_t i = 0; i < j; ++i) x[i] += scaled;
            x[j] -= along * scaled;
        }
        std::vector<double> rest(d_ + 1);
        Vertex base(d_ + 1);
        int excess = 0;
        for (std::size_t i = 0; i <= d_; ++i) {
            const int cell = static_cast<int>(std::lround(x[i] / side));
            excess += cell;
            base[i] = cell * static_cast<int>(d_ + 1);
        }
        // Where the cells do not sum to 0, the coordinates that were rounded furthest take the blame.
        std::vector<std::size_t> order(d_ + 1);
        std::iota(order.begin(), order.end(), 0u);
        const auto by_rest = [&] {
            for (std::size_t i = 0; i <= d_; ++i) rest[i] = x[i] - base[i];
            std::stable_sort(order.begin(), order.end(),
                             [&](std::size_t a, std::size_t b) { return rest[a] > rest[b]; });
        };
        by_rest();
        for (; excess < 0; ++excess)
            base[order[static_cast<std::size_t>(-excess - 1)]] += static_cast<int>(d_ + 1);
        for (; excess > 0; --excess)
            base[order[d_ + 1 - static_cast<std::size_t>(excess)]] -= static_cast<int>(d_ + 1);
        by_rest();

        // The k-th vertex adds k to every coordinate and takes d + 1 off the k smallest.
        for (std::size_t k = 0; k <= d_; ++k) {
            Vertex vertex(base);
            for (int& coordinate : vertex) coordinate += static_cast<int>(k);
            for (std::size_t s = 0; s < k; ++s) vertex[order[d_ - s]] -= static_cast<int>(d_ + 1);
            const double weight = k == 0 ? 1.0 - (rest[order[0]] - rest[order[d_]]) / side
                                         : (rest[order[d_ - k]] - rest[order[d_ - k + 1]]) / side;
            corners_[p].emplace_back(numbers_.emplace(std::move(vertex), numbers_.size()).first->second,
                                     weight);
        }
    }

    // Links each vertex to the two before and behind it along each axis; those that no point touches are 0.
    void link() {
        links_.assign(d_ + 1, std::vector<std::vector<std::size_t>>(vertices()));
        for (std::size_t axis = 0; axis <= d_; ++axis)
            for (const auto& [vertex, number] : numbers_)
                for (const int step : {-1, 1}) {
                    Vertex neighbor(vertex);
                    for (int& coordinate : neighbor) coordinate += step;
                    neighbor[axis] -= step * static_cast<int>(d_ + 1);
                    const auto found = numbers_.find(neighbor);
                    if (found != numbers_.end()) links_[axis][number].push_back(found->second);
                }
    }

    std::vector<double> blurred(const std::vector<double>& at, std::size_t axis) const {
        std::vector<double> out(at);
        for (std::size_t v = 0; v < at.size(); ++v)
            for (const std::size_t neighbor : links_[axis][v]) out[v] += 0.5 * at[neighbor];
        return out;
    }

    std::size_t d_, points_;
    std::map<Vertex, std::size_t> numbers_;
    std::vector<std::vector<std::pair<std::size_t, double>>> corners_;  // of each point, with its weights
    std::vector<std::vector<std::vector<std::size_t>>> links_;          // [axis][vertex]
};

struct PlainTerm {
    Matrix kernel;
    std::vector<float> pre_scale, post_scale, gains;
};

struct PlainReport {
    std::vector<double> q;  // [label][point]
    std::vector<double> energy, entropy;
};

inline void softmax(const std::vector<double>& scores, std::size_t points, std::vector<double>& q) {
    const std::size_t labels = scores.size() / points;
    for (std::size_t p = 0; p < points; ++p) {
        double top = scores[p], sum = 0;
        for (std::size_t c = 0; c < labels; ++c) top = std::max(top, scores[c * points + p]);
        for (std::size_t c = 0; c < labels; ++c) sum += std::exp(scores[c * points + p] - top);
        for (std::size_t c = 0; c < labels; ++c)
            q[c * points + p] = std::exp(scores[c * points + p] - top) / sum;
    }
}

// Q <- softmax(-unary + sum over terms of after * G . K (before * Q)), `iterations` times.
inline PlainReport plain_mean_field(const std::vector<PlainTerm>& terms, const std::vector<double>& unary,
                                    std::size_t points, int iterations) {
    const std::size_t labels = unary.size() / points;
    PlainReport report;
    std::vector<double> scores(unary.size());
    std::transform(unary.begin(), unary.end(), scores.begin(), [](double u) { return -u; });
    report.q.resize(unary.size());
    for (int step = 0;; ++step) {
        softmax(scores, points, report.q);
        std::vector<double> messages(unary.size());
        for (const PlainTerm& term : terms) {
            std::vector<double> filtered(unary.size());
            for (std::size_t at = 0; at < unary.size(); ++at)
                for (std::size_t j = 0; j < points; ++j)
                    filtered[at] += term.kernel[at % points][j] * report.q[at / points * points + j] *
                                    (term.pre_scale.empty() ? 1.0 : term.pre_scale[j]);
            for (std::size_t at = 0; at < unary.size(); ++at) {
                const std::size_t p = at % points, to = at / points;
                double mixed = 0;
                if (term.gains.size() == labels * labels && labels > 1)
                    for (std::size_t from = 0; from < labels; ++from)
                        mixed += term.gains[from * labels + to] * filtered[from * points + p];
                else
                    mixed = filtered[at] * (term.gains.empty() ? 1.0 : term.gains[to]);
                messages[at] += term.post_scale[p] * mixed;
            }
        }
        double energy = 0, entropy = 0;
        for (std::size_t at = 0; at < unary.size(); ++at) {
            const double q = report.q[at];
            energy += q * (unary[at] - 0.5 * messages[at]);
            if (q > 0) entropy -= q * std::log(q);
        }
        report.energy.push_back(energy);
        report.entropy.push_back(entropy);
        if (step == iterations) return report;
        for (std::size_t at = 0; at < unary.size(); ++at) scores[at] = messages[at] - unary[at];
    }
}

// The largest difference, beside the largest magnitude of what is expected.
template <class A, class B>
double relative_error(const A& got, const B& expected) {
    double most = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double difference = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
        if (std::isnan(difference)) return difference;
        most = std::max(most, difference);
        size = std::max(size, std::abs(static_cast<double>(expected[i])));
    }
    return most / size;
}

// The instruction sets that this processor has.
inline std::vector<std::string> instruction_sets() {
    std::vector<std::string> found;
    for (const char* name : {"baseline", "v3", "v4"})
        if (atrous::choose_instruction_set(name)) found.push_back(name);
    return found;
}

constexpr int kThreads[] = {1, 2, 3, 7};

// K times values, by the filter that is tested.
inline std::vector<float> applied(const atrous::Filter& filter, const std::vector<float>& values,
                                  int threads) {
    atrous::ThreadPool pool(threads);
    std::vector<float> out(values.size(), -1.0f);
    const auto labels = static_cast<std::int64_t>(values.size()) / filter.points();
    const std::int64_t points = filter.points();
    atrous::apply(pool, filter, {values.data(), labels, 1, points}, {out.data(), labels, 1, points});
    return out;
}

}  // namespace testing
