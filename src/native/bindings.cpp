// Python bindings, atrous._native. Computes nothing; atrous.crf checks the arguments of users.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "apply.hpp"
#include "brute_force.hpp"
#include "filter.hpp"
#include "gaussian/separable.hpp"
#include "lattice/features.hpp"
#include "lattice/lattice.hpp"
#include "python_arrays.hpp"
#include "python_model.hpp"
#include "simd/kernels.hpp"
#include "thread_pool.hpp"

using namespace nb::literals;

namespace {

int checked_dimensions(const Planes& features) {
    require(rows(features) >= 1 && points(features) >= 1, "features must not be empty");
    return static_cast<int>(rows(features));
}

FilterPointer built_lattice(const atrous::Features& features, int threads,
                            std::optional<std::size_t> most_rows, const atrous::Stencil* stencil = nullptr,
                            bool origin = false) {
    FilterPointer built;
    released(threads, [&](ThreadPool& pool) {
        built =
            std::make_shared<atrous::Lattice>(pool, features, stencil, most_rows.value_or(SIZE_MAX), origin);
    });
    return built;
}

atrous::Stencil checked_stencil(const Offsets& offsets, const Vector& weights, std::size_t side) {
    constexpr std::int64_t kLargestOffset = 1000;
    require(offsets.shape(1) == side && weights.size() == offsets.shape(0), "d + 1 coordinates an offset");
    atrous::Stencil stencil;
    for (std::size_t k = 0; k < weights.size(); ++k) {
        const std::int32_t* first = offsets.data() + k * side;
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < side; ++i) {
            sum += first[i];
            require(std::abs(std::int64_t{first[i]}) <= kLargestOffset &&
                        (std::int64_t{first[i]} - first[0]) % static_cast<std::int64_t>(side) == 0,
                    "not an offset of the lattice");
        }
        require(sum == 0, "not an offset of the lattice");
        if (std::any_of(first, first + side, [](std::int32_t x) { return x != 0; }))
            stencil.pairs.push_back({{first, first + side}, weights.data()[k]});
        else
            stencil.own = weights.data()[k];
    }
    return stencil;
}

FilterPointer lattice(const Planes& features, int threads, std::int64_t line,
                      const std::optional<Offsets>& offsets, const std::optional<Vector>& weights,
                      std::optional<std::size_t> most_rows, std::int64_t tile_points, bool origin) {
    require(tile_points >= 1 && tile_points <= atrous::Tiles::kMost, "too few or many points in a tile");
    require(rows(features) <= atrous::Lattice::most_dimensions(tile_points + origin),
            "features have too many dimensions for the lattice");
    const int dimensions = checked_dimensions(features);
    require(offsets.has_value() == weights.has_value(), "offsets and weights go together");
    atrous::Stencil stencil;
    if (offsets) stencil = checked_stencil(*offsets, *weights, static_cast<std::size_t>(dimensions) + 1);
    return built_lattice(atrous::ArrayFeatures(features.data(), dimensions,
                                               atrous::Tiles(points(features), line, tile_points)),
                         threads, most_rows, offsets ? &stencil : nullptr, origin);
}

FilterPointer image_lattice(const Image& image, double sx, double sy, const std::vector<double>& srgb,
                            int threads, std::optional<std::size_t> most_rows) {
    require(image.shape(2) == 3 && srgb.size() == 3, "three colors");
    require(image.size() > 0, "image must not be empty");
    require(sx > 0 && sy > 0 && std::all_of(srgb.begin(), srgb.end(), [](double sigma) { return sigma > 0; }),
            "sigmas must be positive");
    return built_lattice(atrous::ImageFeatures(image.data(), static_cast<std::int64_t>(image.shape(0)),
                                               static_cast<std::int64_t>(image.shape(1)), sx, sy, srgb),
                         threads, most_rows);
}

FilterPointer brute_force(const Planes& features, std::int64_t line) {
    require(finite(features), "features must be finite");
    return std::make_shared<atrous::BruteForce>(features.data(), checked_dimensions(features),
                                                atrous::Tiles(points(features), line));
}

FilterPointer grid_gaussian(const std::vector<std::int64_t>& shape, const std::vector<double>& sigmas,
                            double least) {
    require(least > 0 && least < 1, "least must be a weight beside 1");
    require(!shape.empty() && shape.size() == sigmas.size(), "one sigma for each axis");
    std::int64_t points = 1;
    for (const std::int64_t length : shape) {
        require(length >= 1, "axes must not be empty");
        require(length <= kMostValues / points, "too many points");
        points *= length;
    }
    for (const double sigma : sigmas) require(sigma > 0, "sigmas must be positive");
    return std::make_shared<atrous::GridGaussian>(shape, sigmas, least);
}

void apply(const atrous::Filter& filter, const Strided& values, const OutStrided& out, int threads,
           bool transposed) {
    require(static_cast<std::int64_t>(values.shape(1)) == filter.points(), "values do not fit the filter");
    require(out.shape(0) == values.shape(0) && out.shape(1) == values.shape(1), "out must be like values");
    released(threads, [&](ThreadPool& pool) {
        atrous::apply(pool, filter, point_values<const float>(values), point_values<float>(out), transposed);
    });
}

// K * 1
void mass(const atrous::Filter& filter, const OutVector& out, int threads) {
    require(static_cast<std::int64_t>(out.size()) == filter.points(), "out must hold a value for each point");
    released(threads, [&](ThreadPool& pool) { atrous::mass(pool, filter, out.data()); });
}

}  // namespace

NB_MODULE(_native, m) {
    // PyTorch's graphs, which may live on at exit, own filters and models.
    nb::set_leak_warnings(false);
    m.doc() = "C++ kernels of the fully connected CRF. The public interface is atrous.crf.";

    nb::exception<atrous::LatticeTooLarge>(m, "LatticeTooLarge");

    nb::class_<atrous::Filter>(m, "Filter", "Gaussian kernel matrix K between points.")
        .def_prop_ro("points", &atrous::Filter::points)
        .def_prop_ro(
            "vertices",
            [](const atrous::Filter& filter) -> std::optional<std::uint32_t> {
                const auto* lattice = dynamic_cast<const atrous::Lattice*>(&filter);
                return lattice == nullptr ? std::nullopt : std::optional(lattice->vertices());
            },
            "Number of lattice vertices; None for a filter without a lattice.")
        .def_prop_ro(
            "rows",
            [](const atrous::Filter& filter) -> std::optional<std::size_t> {
                const auto* lattice = dynamic_cast<const atrous::Lattice*>(&filter);
                return lattice == nullptr ? std::nullopt : std::optional(lattice->rows());
            },
            "Vertices of a lattice, each counted in every tile of points that touches it; else None.")
        .def_prop_ro("symmetric", &atrous::Filter::symmetric, "Whether K equals its transpose.")
        .def("apply", &apply, "values"_a.noconvert(), "out"_a.noconvert(), "threads"_a,
             "transposed"_a = false,
             "Write K, or its transpose, times each row of values (R, N) to out (R, N), with any strides.")
        .def("mass", &mass, "out"_a.noconvert(), "threads"_a, "Write the row sums of K to out (N,).");
    m.def("lattice", &lattice, "features"_a.noconvert(), "threads"_a, "line"_a = 0,
          "offsets"_a.noconvert().none() = nb::none(), "weights"_a.noconvert().none() = nb::none(),
          "most_rows"_a.none() = nb::none(), "tile_points"_a = atrous::Tiles::kMost, "origin"_a = false,
          "Build a permutohedral lattice over features (d, N).\n\n"
          "Points lie in rows of `line`, like the pixels of an image; 0 means one row. Given offsets\n"
          "(K, d + 1) and weights (K,), a stencil replaces the blur: each vertex is the weighted sum of\n"
          "the vertices at the offsets and at their opposites; the zero offset is the vertex itself. Raises\n"
          "LatticeTooLarge beyond `most_rows`, see `Filter.rows`. d + 1 times `tile_points`, the most points "
          "in\n"
          "a tile, is 65,535 at most, `origin` a point more: the vertices around features of 0 take part in "
          "the\n"
          "blurs, as though a point lay there.");
    m.def("image_lattice", &image_lattice, "image"_a.noconvert(), "sx"_a, "sy"_a, "srgb"_a, "threads"_a,
          "most_rows"_a.none() = nb::none(),
          "Build a permutohedral lattice over (x, y, red, green, blue) of an image (H, W, 3).\n\n"
          "Raises LatticeTooLarge beyond `most_rows`, see `Filter.rows`.");
    m.def("brute_force", &brute_force, "features"_a.noconvert(), "line"_a = 0,
          "Build an exact Gaussian over features (d, N), in N^2 steps.");
    m.def("grid_gaussian", &grid_gaussian, "shape"_a, "sigmas"_a, "least"_a = 1.0 / (1 << 25),
          "Build a separable Gaussian on a grid.\n\n"
          "Weights below `least` along an axis are dropped; all others are exact.");

    nb::class_<Model>(m, "Model", "Fully connected CRF over N points.")
        .def(nb::init<std::int64_t>(), "points"_a)
        .def(
            "add", &Model::add, "filter"_a, "pre_scale"_a.noconvert().none(), "post_scale"_a.noconvert(),
            "gains"_a.noconvert().none(), "total"_a.none() = nb::none(),
            "weight"_a = std::numeric_limits<double>::infinity(), "float16"_a = true,
            "Add the pairwise term post_scale * gains (K (pre_scale * Q)).\n\n"
            "pre_scale and post_scale (N,) scale the points. gains (C,) or (C, C), the negated "
            "compatibility,\n"
            "scale the labels; None is 1. `total`: post_scale * (K pre_scale), if known and the same for "
            "all\n"
            "points. `weight`: maximum that the term can add to a score. `float16`: K may be computed in 16\n"
            "bits.")
        .def("potts_mass", &Model::potts_mass, "threads"_a,
             "Return the sum over all pairs of points of the scaled kernels of terms without gains.")
        .def("record", &Model::record, "logits"_a.noconvert(), "marginals"_a.noconvert(),
             "scores"_a.noconvert(), "threads"_a,
             "Run mean-field inference with all labels in float32 and write scores (C, N).\n\n"
             "One step for each row of marginals, which receives the Q before the step as rows of C floats, "
             "padded\n"
             "to `padded_width`. logits and scores (C, N) may have any strides. Every term needs gains.")
        .def("gradient", &Model::gradient, "marginals"_a.noconvert(), "at_scores"_a.noconvert(),
             "at_logits"_a.noconvert(), "at_gains"_a, "threads"_a,
             "Write the gradients at the logits (C, N) and at each term's gains, given the gradient at the "
             "scores of `record`.")
        .def("infer", &Model::infer, "unary"_a.noconvert(), nb::kw_only(), "energies"_a, "iterations"_a,
             "tolerance"_a = 0.0, "prune"_a = 0.0, "trace"_a = false, "threads"_a, "out_is_zero"_a = false,
             "in_place"_a = false, "probabilities"_a.noconvert().none() = nb::none(),
             "labels"_a.noconvert().none() = nb::none(),
             "Run mean-field inference and write probabilities (C, N) and labels (N,).\n\n"
             "unary (C, N) holds energies or probabilities; it and `probabilities` may have any strides.\n"
             "A label is pruned if its ratio to the most probable label is below `prune` at every point; "
             "large\n"
             "weights lower that threshold. `out_is_zero`: `probabilities` holds zeros, so pruned labels "
             "need\n"
             "no writes. `in_place`: unary and probabilities are the same planes, of memory that no file or\n"
             "process shares; the unary is freed as it is read. Raises ValueError for a unary with values "
             "out of range.");

    nb::class_<atrous::Report>(m, "Report", "Statistics of an inference.")
        .def_ro("steps", &atrous::Report::steps, "Number of mean-field steps.")
        .def_ro("active_labels", &atrous::Report::active_labels, "Label ids that were not pruned.")
        .def_ro("energy", &atrous::Report::energy,
                "Expected energy before the first step and after each one, if traced.")
        .def_ro("entropy", &atrous::Report::entropy,
                "Entropy of Q before the first step and after each one, if traced.");

    nb::module_::import_("atexit").attr("register")(nb::cpp_function([] { closing.store(true); }));
    m.def("padded_width", &atrous::padded_width, "labels"_a, "Return the floats in a row of marginals.");
    m.def(
        "instruction_set", [] { return atrous::kernels().name; },
        "Return the instruction set of the inner loops: baseline, v3 or v4.");
    m.def("choose_instruction_set", &atrous::choose_instruction_set, "name"_a,
          "Select an instruction set; return False if the processor lacks it.");
}
