// Python class of a CRF. Part of bindings.cpp.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "apply.hpp"
#include "mean_field/inference.hpp"
#include "mean_field/recorded.hpp"
#include "mean_field/types.hpp"
#include "python_arrays.hpp"

namespace {

// Terms of a CRF. Each call allocates the buffers of its inference.
class Model {
  public:
    explicit Model(std::int64_t points) : points_(points) { require(points >= 1, "no points"); }

    void add(FilterPointer filter, const std::optional<Vector>& pre_scale, const Vector& post_scale,
             const std::optional<Values>& gains, std::optional<float> total, double weight, bool float16) {
        const auto points = static_cast<std::size_t>(points_);
        require(filter->points() == points_, "the filter has another number of points");
        require(finite(post_scale) && (!pre_scale || finite(*pre_scale)) && (!gains || finite(*gains)),
                "factors must be finite");
        require(terms_.empty() || filter->tiles() == terms_[0].filter->tiles(),
                "filters differ in the length of lines");
        require(post_scale.size() == points && (!pre_scale || pre_scale->size() == points),
                "one factor for each point");
        terms_.push_back({std::move(filter), pre_scale ? copied(*pre_scale) : std::vector<float>(),
                          copied(post_scale), gains ? copied(*gains) : std::vector<float>(), total,
                          static_cast<float>(weight), float16});
    }

    // Runs mean field inference; probabilities and labels, its outputs, may each be None. in_place: the unary
    // term and the probabilities are the same memory, which no file or process shares.
    atrous::Report infer(const Strided& unary, bool energies, int iterations, double tolerance, double prune,
                         bool trace, int threads, bool out_is_zero, bool in_place,
                         const std::optional<OutStrided>& probabilities,
                         const std::optional<OutLabels>& labels) const {
        const auto count = static_cast<std::size_t>(unary.shape(0));
        require(count >= 1 && count <= std::numeric_limits<std::int32_t>::max() &&
                    static_cast<std::int64_t>(count) <= kMostValues / points_,
                "too few or many labels");
        require(static_cast<std::int64_t>(unary.shape(1)) == points_, "unary does not fit the points");
        require(
            !probabilities || (probabilities->shape(0) == count && probabilities->shape(1) == unary.shape(1)),
            "probabilities must be like unary");
        require(!labels || labels->size() == unary.shape(1), "labels must hold one for each point");
        require(!in_place || (probabilities && probabilities->data() == unary.data() &&
                              probabilities->stride(0) == unary.stride(0) && unary.stride(1) == 1 &&
                              probabilities->stride(1) == 1 && unary.stride(0) >= points_),
                "in place, unary and probabilities must be the same planes");
        for (const atrous::Term& term : terms_)
            require(term.gains.empty() || term.gains.size() == count || term.gains.size() == count * count,
                    "gains do not fit the number of labels");
        const atrous::Unary given{unary.data(),
                                  static_cast<std::int64_t>(count),
                                  points_,
                                  unary.stride(0),
                                  unary.stride(1),
                                  energies,
                                  energies ? -kLargestEnergy : 0.0f,
                                  energies ? kLargestEnergy : kLargestProbability,
                                  in_place};
        const atrous::Settings settings{iterations, static_cast<float>(prune), static_cast<float>(tolerance),
                                        trace};
        atrous::Outputs outputs;
        if (labels) outputs.labels = labels->data();
        if (probabilities)
            outputs = {probabilities->data(), probabilities->stride(0), probabilities->stride(1),
                       outputs.labels, out_is_zero};
        atrous::Report report;
        released(threads, [&](ThreadPool& pool) {
            report = atrous::infer(pool, terms_,
                                   terms_.empty() ? atrous::Tiles(points_) : terms_[0].filter->tiles(), given,
                                   settings, outputs);
        });
        return report;
    }

    // Returns the sum over all pairs of points of the scaled kernels with Potts compatibility (no gains).
    double potts_mass(int threads) const {
        std::vector<float> of_point(static_cast<std::size_t>(points_));
        double sum = 0.0;
        for (const atrous::Term& term : terms_) {
            if (!term.gains.empty()) continue;
            released(threads, [&](ThreadPool& pool) {
                const float* scale = term.pre_scale.empty() ? nullptr : term.pre_scale.data();
                atrous::apply(pool, *term.filter, {scale, 1, 1, 1}, {of_point.data(), 1, 1, 1});
            });
            sum += std::inner_product(of_point.begin(), of_point.end(), term.post_scale.begin(), 0.0,
                                      std::plus<>(),
                                      [](double filtered, float scale) { return filtered * scale; });
        }
        return sum;
    }

    // Writes Q of each step to `marginals` and the last scores to `scores`.
    void record(const Strided& logits, const Rows& marginals, const OutStrided& scores, int threads) const {
        const atrous::RecordedMeanField field = recorded(logits, marginals);
        require(scores.shape(0) == logits.shape(0) && scores.shape(1) == logits.shape(1),
                "scores must be like logits");
        released(threads, [&](ThreadPool& pool) {
            field.infer(pool, point_values<const float>(logits),
                        static_cast<std::int64_t>(marginals.shape(0)), marginals.data(),
                        point_values<float>(scores));
        });
    }

    // Writes the gradients at the logits and at each term's gains.
    void gradient(const Rows& marginals, const Strided& at_scores, const OutStrided& at_logits,
                  const std::vector<OutValues>& at_gains, int threads) const {
        const atrous::RecordedMeanField field = recorded(at_scores, marginals);
        require(at_logits.shape(0) == at_scores.shape(0) && at_logits.shape(1) == at_scores.shape(1),
                "at_logits must be like at_scores");
        require(at_gains.size() == terms_.size(), "one array of gains for each term");
        std::vector<float*> gains;
        for (std::size_t k = 0; k < terms_.size(); ++k) {
            require(at_gains[k].size() == terms_[k].gains.size(), "at_gains must be like gains");
            gains.push_back(at_gains[k].data());
        }
        released(threads, [&](ThreadPool& pool) {
            field.gradient(pool, marginals.data(), static_cast<std::int64_t>(marginals.shape(0)),
                           point_values<const float>(at_scores), point_values<float>(at_logits), gains);
        });
    }

  private:
    atrous::RecordedMeanField recorded(const Strided& planes, const Rows& marginals) const {
        const auto labels = static_cast<std::int64_t>(planes.shape(0));
        require(labels >= 1 && labels <= kMostValues / points_, "too few or many labels");
        require(static_cast<std::int64_t>(planes.shape(1)) == points_, "logits do not fit the points");
        require(
            static_cast<std::int64_t>(marginals.shape(1)) == atrous::RecordedMeanField::size(points_, labels),
            "marginals must hold rows of a multiple of 8, or 4, floats");
        require(!terms_.empty(), "no terms");
        for (const atrous::Term& term : terms_)
            require(static_cast<std::int64_t>(term.gains.size()) == labels ||
                        static_cast<std::int64_t>(term.gains.size()) == labels * labels,
                    "gains do not fit the number of labels");
        return {terms_, terms_[0].filter->tiles(), labels};
    }

    // Rounding may raise a probability slightly above 1; above 1e30, sums of energies could overflow.
    static constexpr float kLargestProbability = 1.001f, kLargestEnergy = 1.0001e30f;

    std::int64_t points_;
    std::vector<atrous::Term> terms_;
};

}  // namespace
