// What Python sees as atrous._native. Binds, never computes; atrous.crf checks what users give it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "apply.hpp"
#include "brute_force.hpp"
#include "filter.hpp"
#include "gaussian/separable.hpp"
#include "lattice/features.hpp"
#include "lattice/lattice.hpp"
#include "mean_field/inference.hpp"
#include "mean_field/types.hpp"
#include "simd/kernels.hpp"
#include "thread_pool.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using atrous::ThreadPool;
using Planes = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Image = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using OutPlanes = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Strided = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using OutVector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutStrided = nb::ndarray<float, nb::ndim<2>, nb::device::cpu>;
using OutLabels = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FilterPointer = std::shared_ptr<atrous::Filter>;

// Of a label at a point. Arrays whose strides are 0 may claim more than any memory holds, and the sizes of
// what is computed from them must not overflow.
constexpr std::int64_t kMostValues = std::int64_t{1} << 48;

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

bool asked_to_stop() {
    const nb::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

// Python handles signals in its main thread alone. In others, asking would only mean to wait for the GIL,
// which a daemon thread never gets any more once the interpreter ends.
bool in_main_thread() {
    const nb::object main = nb::module_::import_("threading").attr("main_thread")();
    return nb::cast<unsigned long>(main.attr("ident")) == PyThread_get_thread_ident();
}

long this_process() {
#if defined(_WIN32)
    return 0;
#else
    return static_cast<long>(getpid());
#endif
}

// Set when the interpreter ends: see closing() in the module.
std::atomic<bool> closing{false};

// Runs work(pool) with a pool that is kept for the next call, as to start threads takes long where another
// process is busy; with one of its own while another thread uses that. Never destroyed: a child of fork(),
// where its workers do not exist, could not join them.
template <class Work>
void with_team(int threads, ThreadPool::Poll asked, const Work& work) {
    static std::mutex mutex;
    static ThreadPool* kept = nullptr;
    static long process = 0;
    const std::unique_lock lock(mutex, std::try_to_lock);
    if (threads <= 1 || !lock) {
        ThreadPool pool(threads, asked);
        return work(pool);
    }
    if (kept != nullptr && process != this_process())
        kept = nullptr;
    else if (kept != nullptr && kept->size() != threads)
        delete std::exchange(kept, nullptr);
    if (kept == nullptr) kept = new ThreadPool(threads);
    process = this_process();
    kept->set_poll(asked);
    work(*kept);
}

// Runs work(pool) without the GIL; Ctrl-C stops it.
template <class Work>
void released(int threads, const Work& work) {
    const ThreadPool::Poll asked = in_main_thread() ? asked_to_stop : nullptr;
    try {
        const nb::gil_scoped_release release;
        with_team(threads, asked, work);
        // Only daemon threads run on by then, and the interpreter would end them without their unwinding.
        while (closing.load() && asked == nullptr) std::this_thread::sleep_for(std::chrono::hours(1));
    } catch (...) {
        // Interrupted, or what another thread threw in the meantime: the signal's handler has raised.
        if (asked != nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
        throw;
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

template <class Array>
bool finite(const Array& array) {
    // Infinity and NaN times 0 are NaN; several sums, none of which waits for the others.
    constexpr std::size_t kSums = 16;
    float odd[kSums] = {};
    std::size_t i = 0;
    for (; i + kSums <= array.size(); i += kSums)
        for (std::size_t k = 0; k < kSums; ++k) odd[k] += array.data()[i + k] * 0.0f;
    for (; i < array.size(); ++i) odd[0] += array.data()[i] * 0.0f;
    return std::all_of(odd, odd + kSums, [](float sum) { return sum == 0.0f; });
}

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

void apply(const atrous::Filter& filter, const Planes& values, const OutPlanes& out, int threads) {
    require(points(values) == filter.points(), "values do not fit the filter");
    require(out.shape(0) == values.shape(0) && out.shape(1) == values.shape(1), "out must be like values");
    released(threads,
             [&](ThreadPool& pool) { atrous::apply(pool, filter, values.data(), rows(values), out.data()); });
}

// K * 1
void mass(const atrous::Filter& filter, const OutVector& out, int threads) {
    require(static_cast<std::int64_t>(out.size()) == filter.points(), "out must hold a value for each point");
    released(threads, [&](ThreadPool& pool) { atrous::apply(pool, filter, nullptr, 1, out.data()); });
}

// The description of a CRF; the buffers of an inference live within one call.
class Model {
  public:
    explicit Model(std::int64_t points) : points_(points) { require(points >= 1, "no points"); }

    void add(FilterPointer filter, const std::optional<Vector>& before, const Vector& after,
             const std::optional<Values>& gains, std::optional<float> total, double weight, bool float16) {
        const auto points = static_cast<std::size_t>(points_);
        require(filter->points() == points_, "the filter has another number of points");
        require(finite(after) && (!before || finite(*before)) && (!gains || finite(*gains)),
                "factors must be finite");
        require(terms_.empty() || filter->tiles() == terms_[0].filter->tiles(),
                "filters differ in the length of lines");
        require(after.size() == points && (!before || before->size() == points), "one factor for each point");
        terms_.push_back({std::move(filter), before ? copied(*before) : std::vector<float>(), copied(after),
                          gains ? copied(*gains) : std::vector<float>(), total, static_cast<float>(weight),
                          float16});
    }

    // Writes what is outputs of Q; probabilities and labels may each be None. consumed: the unary term is
    // private memory that probabilities take the place of.
    atrous::Report infer(const Strided& unary, bool energies, int iterations, double tolerance, double prune,
                         bool trace, int threads, bool zeroed, bool consumed,
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
        require(!consumed || (probabilities && probabilities->data() == unary.data() &&
                              probabilities->stride(0) == unary.stride(0) && unary.stride(1) == 1 &&
                              probabilities->stride(1) == 1 && unary.stride(0) >= points_),
                "what is consumed must be the planes that are written");
        for (const atrous::Term& term : terms_)
            require(term.compatibility.empty() || term.compatibility.size() == count ||
                        term.compatibility.size() == count * count,
                    "gains do not fit the number of labels");
        const atrous::Unary given{unary.data(),
                                  static_cast<std::int64_t>(count),
                                  points_,
                                  unary.stride(0),
                                  unary.stride(1),
                                  energies,
                                  energies ? -kLargestEnergy : 0.0f,
                                  energies ? kLargestEnergy : kLargestProbability,
                                  consumed};
        const atrous::Settings settings{iterations, static_cast<float>(prune), static_cast<float>(tolerance),
                                        trace};
        atrous::Outputs outputs;
        if (labels) outputs.labels = labels->data();
        if (probabilities)
            outputs = {probabilities->data(), probabilities->stride(0), probabilities->stride(1),
                       outputs.labels, zeroed};
        atrous::Report report;
        released(threads, [&](ThreadPool& pool) {
            report = atrous::infer(pool, terms_,
                                   terms_.empty() ? atrous::Tiles(points_) : terms_[0].filter->tiles(), given,
                                   settings, outputs);
        });
        return report;
    }

    // The sum over all pairs of points of the kernels whose compatibility is Potts', with their factors.
    double potts_mass(int threads) const {
        std::vector<float> of_point(static_cast<std::size_t>(points_));
        double sum = 0.0;
        for (const atrous::Term& term : terms_) {
            if (!term.compatibility.empty()) continue;
            released(threads, [&](ThreadPool& pool) {
                atrous::apply(pool, *term.filter, term.pre_scale.empty() ? nullptr : term.pre_scale.data(), 1,
                              of_point.data());
            });
            sum += std::inner_product(of_point.begin(), of_point.end(), term.post_scale.begin(), 0.0,
                                      std::plus<>(),
                                      [](double filtered, float after) { return filtered * after; });
        }
        return sum;
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
        .def("apply", &apply, "values"_a.noconvert(), "out"_a.noconvert(), "threads"_a,
             "Write K times each row of values (R, N) to out (R, N).")
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
        .def("add", &Model::add, "filter"_a, "before"_a.noconvert().none(), "after"_a.noconvert(),
             "gains"_a.noconvert().none(), "total"_a.none() = nb::none(),
             "weight"_a = std::numeric_limits<double>::infinity(), "float16"_a = true,
             "Add the pairwise term after * gains (K (before * Q)).\n\n"
             "before and after (N,) scale the points, gains (C,) or (C, C) the labels. `total` is\n"
             "after * (K before), if it is known and the same for all points. `weight`: the most that the "
             "term\n"
             "can add to a score. `float16`: K may be computed in 16 bits.")
        .def("potts_mass", &Model::potts_mass, "threads"_a,
             "Return the sum over all pairs of points of the kernels without gains, with their factors.")
        .def("infer", &Model::infer, "unary"_a.noconvert(), nb::kw_only(), "energies"_a, "iterations"_a,
             "tolerance"_a = 0.0, "prune"_a = 0.0, "trace"_a = false, "threads"_a, "zeroed"_a = false,
             "consumed"_a = false, "probabilities"_a.noconvert().none() = nb::none(),
             "labels"_a.noconvert().none() = nb::none(),
             "Run mean-field inference and write probabilities (C, N) and labels (N,).\n\n"
             "unary (C, N) holds energies or probabilities; it and `probabilities` may have any strides.\n"
             "A label whose ratio to the point's likeliest stays under `prune` is pruned; large weights "
             "lower\n"
             "that bound.\n"
             "`zeroed`: `probabilities` holds zeros, so the pruned labels need no write. `consumed`: unary "
             "and\n"
             "probabilities are the same planes, of memory that no file or process shares; it is given back\n"
             "as it is read. Raises ValueError for a unary with values out of range.");

    nb::class_<atrous::Report>(m, "Report", "Statistics of an inference.")
        .def_ro("steps", &atrous::Report::steps, "Number of mean-field steps.")
        .def_ro("kept", &atrous::Report::kept, "Label ids that were never pruned.")
        .def_ro("energy", &atrous::Report::energy,
                "Expected energy before the first step and after each one, if traced.")
        .def_ro("entropy", &atrous::Report::entropy,
                "Entropy of Q before the first step and after each one, if traced.");

    nb::module_::import_("atexit").attr("register")(nb::cpp_function([] { closing.store(true); }));
    m.def(
        "instruction_set", [] { return atrous::kernels().name; },
        "Return the instruction set of the inner loops: baseline, v3 or v4.");
    m.def("choose_instruction_set", &atrous::choose_instruction_set, "name"_a,
          "Select an instruction set; return False if the processor lacks it.");
}
