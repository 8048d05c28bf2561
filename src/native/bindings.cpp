// What Python sees as atrous._native. Binds, never computes; atrous.crf checks what users give it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <optional>
#include <stdexcept>

#include "exact.hpp"
#include "gaussian.hpp"
#include "inner_loops.hpp"
#include "lattice.hpp"
#include "mean_field.hpp"
#include "parallel.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using atrous::Team;
using Planes = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using OutPlanes = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Strided = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using OutStrided = nb::ndarray<float, nb::ndim<2>, nb::device::cpu>;
using OutLabels = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FilterPointer = std::shared_ptr<atrous::Filter>;

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

bool asked_to_stop() {
    const nb::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

// Runs work(team) without the GIL; Ctrl-C stops it.
template <class Work>
void released(int threads, const Work& work) {
    try {
        const nb::gil_scoped_release release;
        Team team(threads, asked_to_stop);
        work(team);
    } catch (const atrous::Interrupted&) {
        throw nb::python_error();  // which the signal's handler raised
    }
}

std::int64_t rows(const Planes& planes) {
    return static_cast<std::int64_t>(planes.shape(0));
}
std::int64_t points(const Planes& planes) {
    return static_cast<std::int64_t>(planes.shape(1));
}

template <class Array>
std::vector<float> copied(const Array& array) {
    return std::vector<float>(array.data(), array.data() + array.size());
}

int checked_dimensions(const Planes& features) {
    require(rows(features) >= 1 && points(features) >= 1, "features must not be empty");
    return static_cast<int>(rows(features));
}

FilterPointer lattice(const Planes& features, int threads) {
    require(rows(features) <= atrous::kMaxDimensions, "features have too many dimensions for the lattice");
    const int dimensions = checked_dimensions(features);
    FilterPointer built;
    released(threads, [&](Team& team) {
        built = std::make_shared<atrous::Lattice>(team, features.data(), dimensions, points(features));
    });
    return built;
}

FilterPointer brute_force(const Planes& features) {
    return std::make_shared<atrous::BruteForce>(features.data(), checked_dimensions(features),
                                                points(features));
}

FilterPointer grid_gaussian(const std::vector<std::int64_t>& shape, const std::vector<double>& sigmas) {
    require(!shape.empty() && shape.size() == sigmas.size(), "one sigma for each axis");
    for (const std::int64_t length : shape) require(length >= 1, "axes must not be empty");
    for (const double sigma : sigmas) require(sigma > 0, "sigmas must be positive");
    return std::make_shared<atrous::GridGaussian>(shape, sigmas);
}

void apply(const atrous::Filter& filter, const Planes& values, const OutPlanes& out, int threads) {
    require(points(values) == filter.points(), "values do not fit the filter");
    require(out.shape(0) == values.shape(0) && out.shape(1) == values.shape(1), "out must be like values");
    released(threads,
             [&](Team& team) { atrous::apply(team, filter, values.data(), rows(values), out.data()); });
}

// The description of a CRF; the buffers of an inference live within one call.
class Model {
  public:
    explicit Model(std::int64_t points) : points_(points) { require(points >= 1, "no points"); }

    void add(FilterPointer filter, const std::optional<Vector>& before, const Vector& after,
             const std::optional<Values>& gains) {
        const auto points = static_cast<std::size_t>(points_);
        require(filter->points() == points_, "the filter has another number of points");
        require(after.size() == points && (!before || before->size() == points), "one factor for each point");
        terms_.push_back({std::move(filter), before ? copied(*before) : std::vector<float>(), copied(after),
                          gains ? copied(*gains) : std::vector<float>()});
    }

    // Writes what is wanted of Q; probabilities and labels may each be None.
    atrous::Report infer(const Strided& unary, bool energies, int iterations, double tolerance, double prune,
                         bool trace, int threads, const std::optional<OutStrided>& probabilities,
                         const std::optional<OutLabels>& labels) const {
        const auto count = static_cast<std::size_t>(unary.shape(0));
        require(count >= 1 && count <= std::numeric_limits<std::int32_t>::max(), "too few or many labels");
        require(static_cast<std::int64_t>(unary.shape(1)) == points_, "unary does not fit the points");
        require(
            !probabilities || (probabilities->shape(0) == count && probabilities->shape(1) == unary.shape(1)),
            "probabilities must be like unary");
        require(!labels || labels->size() == unary.shape(1), "labels must hold one for each point");
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
                                  energies ? kLargestEnergy : kLargestProbability};
        const atrous::Settings settings{iterations, static_cast<float>(prune), static_cast<float>(tolerance),
                                        trace};
        atrous::Report report;
        released(threads, [&](Team& team) {
            atrous::MeanField field(terms_, given);
            report = field.infer(team, settings);
            if (labels) field.labels(team, labels->data());
            if (!probabilities) return;
            float* out = probabilities->data();
            const std::int64_t label_stride = probabilities->stride(0), stride = probabilities->stride(1);
            field.probabilities(
                team, [&](std::int64_t label, std::int64_t begin, std::int64_t end, const float* q) {
                    float* to = out + label * label_stride + begin * stride;
                    if (stride == 1)
                        std::copy_n(q, end - begin, to);
                    else
                        for (std::int64_t p = 0; p < end - begin; ++p) to[p * stride] = q[p];
                });
        });
        return report;
    }

  private:
    // Probabilities that were rounded may sum to a little more than 1; beyond 1e30, sums of energies could
    // overflow.
    static constexpr float kLargestProbability = 1.001f, kLargestEnergy = 1.0001e30f;

    std::int64_t points_;
    std::vector<atrous::Term> terms_;
};

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The CRF's kernels in C++; atrous.crf is their face.";

    nb::class_<atrous::Filter>(m, "Filter", "A Gaussian kernel matrix between points, ready to multiply.")
        .def_prop_ro("points", &atrous::Filter::points)
        .def_prop_ro("vertices",
                     [](const atrous::Filter& filter) -> std::optional<std::uint32_t> {
                         const auto* lattice = dynamic_cast<const atrous::Lattice*>(&filter);
                         return lattice == nullptr ? std::nullopt : std::optional(lattice->vertices());
                     })
        .def("apply", &apply, "values"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
    m.def("lattice", &lattice, "features"_a.noconvert(), "threads"_a);
    m.def("brute_force", &brute_force, "features"_a.noconvert());
    m.def("grid_gaussian", &grid_gaussian, "shape"_a, "sigmas"_a);

    nb::class_<Model>(m, "Model", "A fully connected CRF over a number of points.")
        .def(nb::init<std::int64_t>(), "points"_a)
        .def("add", &Model::add, "filter"_a, "before"_a.noconvert().none(), "after"_a.noconvert(),
             "gains"_a.noconvert().none())
        .def("infer", &Model::infer, "unary"_a.noconvert(), nb::kw_only(), "energies"_a, "iterations"_a,
             "tolerance"_a = 0.0, "prune"_a = 0.0, "trace"_a = false, "threads"_a,
             "probabilities"_a.noconvert().none() = nb::none(), "labels"_a.noconvert().none() = nb::none());

    nb::class_<atrous::Report>(m, "Report", "What happened in an inference.")
        .def_ro("steps", &atrous::Report::steps)
        .def_ro("kept", &atrous::Report::kept)
        .def_ro("energy", &atrous::Report::energy)
        .def_ro("entropy", &atrous::Report::entropy);

    m.def("instruction_set", [] { return atrous::inner_loops().name; });
    m.def("choose_instruction_set", &atrous::choose_instruction_set, "name"_a);
}
