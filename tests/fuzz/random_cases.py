"""One random use of the CRF for each seed. It passes, is refused in one line, or has found something."""

import numpy as np
from random_arrays import Draw, laid_out, mistaken_shape, numbers, probabilities, spoiled, typed

from atrous import _native
from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial, exact
from atrous.errors import InputError

NORMALIZATIONS = ("none", "before", "after", "symmetric")
MOST_VALUES = 200_000  # labels times points; more only takes longer
MOST_EXACT = 900


class Finding(AssertionError):
    """What should not have happened."""


def expect(holds, what):
    if not holds:
        raise Finding(what)


def run_case(seed):
    """Run one case; returns "passed" or "refused: why". Anything raised is a finding."""
    case = (dense, dense, dense, drop_in, native, compared)[seed[-1] % 6]
    draw = Draw(seed, tame=case is compared or seed[-1] // 6 % 3 == 0)
    try:
        case(draw)
    except InputError as error:
        message = str(error)
        expect(message and "\n" not in message and len(message) < 1000, f"the message is no line: {message}")
        expect(not draw.tame, f"refused an ordinary case: {message}")
        return f"refused: {message}"
    return "passed"


def grid_shape(draw, axes, labels):
    while True:
        shape = tuple(draw.size(1, 40) for _ in range(axes))
        if np.prod(shape) * labels <= MOST_VALUES:
            return shape


def label_count(draw):
    return 300 if draw.chance(0.03) else draw.size(2, 40)


def standard_deviations(draw, count):
    values = tuple(draw.number() for _ in range(count))
    return draw.nonsense() if draw.rarely() else draw.pick(values[0], values, list(values), np.array(values))


def weight(draw):
    return (
        draw.nonsense()
        if draw.rarely()
        else draw.pick(1, 1, 1, 1, 0, 1 if draw.tame else -1) * draw.number() ** draw.pick(1, 0.2)
    )


def compatibility(draw, labels):
    if draw.rarely():
        return draw.nonsense()
    kind = draw.pick(None, None, "vector", "matrix")
    if kind is None:
        return None
    values = numbers(draw, (labels,) if kind == "vector" else (labels, labels))
    if draw.chance(0.7):
        values = np.abs(values) / max(1.0, float(np.abs(values).max()))
    return laid_out(draw, spoiled(draw, values) if draw.rarely() else values)


def image(draw, shape):
    bands = 3 if draw.tame else draw.pick(3, 3, 3, 1, draw.whole(1, 14))
    full = shape if draw.rarely() else (*shape, bands)
    if draw.rarely():
        full = mistaken_shape(draw, full)
    if draw.tame or draw.chance(0.6):
        array = draw.rng.integers(0, 256, size=full).astype(np.uint8)
        if draw.chance(0.5) and array.size:
            array[...] = array.flat[0]
    else:
        array = numbers(draw, full)
        array = typed(draw, spoiled(draw, array) if draw.rarely() else array)
    return laid_out(draw, array)


def kernel(draw, shape, labels, with_image):
    own = {"compatibility": compatibility(draw, labels)} if draw.chance(0.3) else {}
    if draw.chance(0.3):
        own["normalization"] = draw.nonsense() if draw.rarely() else draw.pick(*NORMALIZATIONS)
    kind = draw.pick(Spatial, Bilateral, Gaussian) if with_image else Gaussian
    if kind is Gaussian:
        features = numbers(draw, (*shape, draw.pick(1, 2, 3, 5, draw.whole(1, 17 if draw.rarely() else 16))))
        features = spoiled(draw, features) if draw.rarely() else features
        return Gaussian(laid_out(draw, typed(draw, features)), weight(draw), **own)
    sxy = standard_deviations(draw, len(shape))
    if kind is Spatial:
        return Spatial(weight=weight(draw), sxy=sxy, **own)
    return Bilateral(weight=weight(draw), sxy=sxy, srgb=standard_deviations(draw, draw.pick(1, 3)), **own)


def unary(draw, labels, shape):
    """Keyword arguments of a call, and where the labels are."""
    energies = draw.chance(0.4)
    full = (labels, *shape)
    values = numbers(draw, full) if energies else probabilities(draw, full)
    values = spoiled(draw, values) if draw.rarely() else values
    last = draw.chance(0.3)
    if last:
        values = np.moveaxis(values, 0, -1)
    if draw.rarely():
        values = np.resize(values, mistaken_shape(draw, values.shape))
    array = laid_out(draw, typed(draw, values))
    return {("energies" if energies else "probabilities"): array, "channels": "last" if last else "first"}


def dense(draw):
    labels = label_count(draw)
    shape = grid_shape(draw, draw.pick(1, 2, 2, 2, 3), labels)
    points = int(np.prod(shape))
    with_image = draw.chance(0.7) and not (draw.tame and len(shape) == 1)  # (N, 3) could be a gray image
    kernels = [kernel(draw, shape, labels, with_image) for _ in range(draw.pick(1, 1, 2, 2, 3, 0 if with_image else 1))]
    options = {
        "iterations": draw.nonsense() if draw.rarely() else draw.pick(0, 1, 2, 3, 5, 10),
        "normalization": draw.nonsense() if draw.rarely() else draw.pick(*NORMALIZATIONS),
        "compatibility": compatibility(draw, labels),
        "filtering": "exact" if points <= MOST_EXACT and draw.chance(0.4) else "lattice",
        "tolerance": draw.nonsense() if draw.rarely() else draw.pick(0.0, 0.0, 1e-3, 1),
        "threads": draw.nonsense() if draw.rarely() else draw.pick(None, 1, 2, 3, 7),
    }
    if draw.chance(0.3):
        options["prune"] = (
            draw.nonsense() if draw.rarely() else 0 if draw.tame else draw.pick(None, 0, 1e-6, 0.05, 0.5, 1)
        )
    picture = image(draw, shape) if with_image else None
    given = unary(draw, labels, shape)
    name = next(iter(given))
    before = content(given[name])
    if options["iterations"] is True or not isinstance(options["iterations"], int) or options["iterations"] < 100:
        crf = DenseCRF(picture, kernels, **options)
        q = crf(**given)
        axis = -1 if given["channels"] == "last" else 0
        batched = q.ndim == len(crf.shape) + 2
        check_marginals(q, np.shape(given[name]), axis + batched if axis == 0 else axis)
        expect(content(given[name]) == before, "the input was changed")
        chosen = crf.labels(**given)
        expect(
            np.array_equal(chosen, q.argmax(axis=axis + batched if axis == 0 else axis)), "labels are not the likeliest"
        )
        if not batched:
            check_inference(draw, crf, given, q)
        if draw.chance(0.2):
            other = DenseCRF(picture, kernels, **{**options, "threads": draw.pick(1, 2, 5)})(**given)
            expect(np.array_equal(other, q), "another number of threads gives other bits")


def content(array):
    """An array's type and values; its bytes would include the unused ones of long doubles."""
    array = np.asarray(array)
    return array.dtype, array.shape, repr(array.tolist()) if array.dtype == np.longdouble else array.tobytes()


def check_marginals(q, shape, axis):
    expect(isinstance(q, np.ndarray) and q.dtype == np.float32, f"expected float32, got {getattr(q, 'dtype', q)}")
    expect(q.shape == shape, f"expected shape {shape}, got {q.shape}")
    expect(np.isfinite(q).all() and q.min(initial=0) >= 0, "a probability is negative or not finite")
    expect(np.allclose(q.sum(axis=axis, dtype=np.float64), 1, atol=1e-4), "probabilities do not sum to 1")


def check_inference(draw, crf, given, q):
    found = crf.infer(**given, trace=draw.chance(0.5))
    expect(np.array_equal(found.probabilities, q), "infer gives other bits than a call")
    expect(0 <= found.steps <= crf.iterations, f"{found.steps} steps")
    expect(len(found.active_labels) >= 1, "all labels were pruned")
    if found.energy is not None:
        expect(len(found.energy) == len(found.divergence) == found.steps + 1, "a step has no energy")
        expect(np.isfinite(found.energy).all() and np.isfinite(found.divergence).all(), "an energy is not finite")


def compared(draw):
    """Where each pair of points is summed and no rounding is blown up, the result is that of plain NumPy."""
    labels = draw.size(2, 20)
    shape = tuple(draw.size(1, 14) for _ in range(draw.pick(1, 2, 2)))
    picture = draw.rng.integers(0, 256, size=(*shape, 3)).astype(np.uint8) if len(shape) == 2 else None
    kernels, points = [], int(np.prod(shape))
    for _ in range(draw.whole(1, 3)):
        normalization = draw.pick(*NORMALIZATIONS)
        strength = draw.rng.random() / (points if normalization == "none" else 1)
        own = {"weight": strength, "normalization": normalization}
        if draw.chance(0.5):
            own["compatibility"] = draw.rng.normal(size=draw.pick((labels,), (labels, labels))) / labels
        made = draw.pick("features", "places", "colors") if picture is not None else "features"
        if made == "features":
            kernels.append(Gaussian(draw.rng.normal(size=(*shape, draw.whole(1, 16))) * draw.number(), **own))
        elif made == "places":
            kernels.append(Spatial(sxy=standard_deviations(draw, 2), **own))
        else:
            kernels.append(Bilateral(sxy=draw.number(), srgb=draw.number(), **own))
    given = {"energies": draw.rng.normal(size=(labels, *shape)) * 3}
    if draw.chance(0.5):
        given = {"probabilities": probabilities(draw, (labels, *shape))}
    iterations = draw.whole(0, 8)
    q = DenseCRF(picture, kernels, filtering="exact", prune=0, iterations=iterations, threads=draw.whole(1, 3))(**given)
    truth = exact(picture, kernels, **given, iterations=iterations)
    worst = float(np.abs(truth - q).max())
    expect(worst < 1e-3, f"differs from the exact mean field by {worst:.2g}")


def drop_in(draw):
    from atrous.pydensecrf import densecrf, utils

    labels, iterations = label_count(draw), draw.pick(0, 1, 2, 5)
    height, width = grid_shape(draw, 2, labels)
    flat = draw.chance(0.4)
    count = draw.pick(0, -1, 2.5, "3", None, np.nan, True) if draw.rarely() else labels
    crf = densecrf.DenseCRF(height * width, count) if flat else densecrf.DenseCRF2D(width, height, count)
    source = draw.pick("energies", "softmax", "labels")
    if source == "energies":
        values = numbers(draw, (labels, height * width))
    elif source == "softmax":
        values = utils.unary_from_softmax(typed(draw, probabilities(draw, (labels, height, width))))
    else:
        annotation = draw.rng.integers(0, labels + 1, size=(height, width))
        values = (
            utils.unary_from_labels(annotation, labels, draw.pick(0.5, 0.7, 0.99), zero_unsure=True)
            if labels > 1
            else np.zeros((1, height * width), np.float32)
        )
    values = spoiled(draw, values) if draw.rarely() else values
    crf.setUnaryEnergy(laid_out(draw, typed(draw, values)))
    photo = draw.rng.integers(0, 256, size=(height, width, 3)).astype(np.uint8)
    for _ in range(draw.whole(0, 3)):
        compat = (
            draw.nonsense()
            if draw.rarely()
            else draw.pick(draw.number() ** 0.3, numbers(draw, labels), numbers(draw, (labels, labels)))
        )
        rest = (draw.pick(*densecrf.KernelType), draw.pick(*densecrf.NormalizationType))
        sxy, srgb = standard_deviations(draw, 2), standard_deviations(draw, 3)
        kind = draw.pick("features", "gaussian", "bilateral", "gaussian", "bilateral")
        if flat or kind == "features":
            features = numbers(draw, (draw.whole(1, 16), height * width))
            crf.addPairwiseEnergy(
                laid_out(draw, typed(draw, spoiled(draw, features) if draw.rarely() else features)), compat, *rest
            )
        elif kind == "gaussian":
            crf.addPairwiseGaussian(sxy, compat, *rest)
        else:
            crf.addPairwiseBilateral(sxy, srgb, photo if draw.tame else laid_out(draw, photo), compat, *rest)
    q = np.array(crf.inference(iterations))
    check_marginals(q, (labels, height * width), 0)
    if draw.chance(0.3):
        step, *spare = crf.startInference()
        for _ in range(iterations):
            crf.stepInference(step, *spare)
        check_marginals(np.asarray(step), (labels, height * width), 0)
        expect(np.isfinite(crf.klDivergence(step)), "the divergence is not finite")


def native(draw):
    """The compiled module itself: a wrong argument is a TypeError or a ValueError there."""
    try:
        native_filter_and_model(draw)
    except (TypeError, ValueError, OverflowError) as error:
        expect(not draw.tame or "too large for the lattice" in str(error), f"refused an ordinary case: {error}")


def odd(draw, array):
    """Most often the array itself."""
    if not draw.rarely():
        return array
    other = draw.pick("strided", "double", "turned", "shorter", "scalar", "none", "spoiled", "empty")
    return {
        "strided": lambda: array[..., ::2],
        "double": lambda: array.astype(np.float64),
        "turned": lambda: array.T,
        "shorter": lambda: array[..., :-1],
        "scalar": lambda: np.float32(3),
        "none": lambda: None,
        "spoiled": lambda: spoiled(draw, array),
        "empty": lambda: array[..., :0],
    }[other]()


def native_filter(draw):
    dimensions = draw.whole(1, 16 if draw.tame else 18)
    kind = draw.pick("lattice", "lattice", "image_lattice", "brute_force", "grid_gaussian")
    threads = draw.pick(-1, 0, 1, 2, 7)
    if kind == "grid_gaussian":
        shape = [draw.size(1, 12) for _ in range(draw.whole(1, 4))]
        if len(shape) == 2:
            shape = [draw.size(1, 70), draw.size(1, 200)]
        sigmas = [draw.nonsense() if draw.rarely() else draw.number() for _ in shape]
        least = draw.pick(-1.0, 0.0, 1.0, np.nan) if draw.rarely() else draw.pick(1e-7, 1e-3, 0.5)
        return _native.grid_gaussian([0, *shape] if draw.rarely() else shape, sigmas, least)
    if kind == "image_lattice":
        photo = draw.rng.integers(0, 256, size=(draw.size(1, 80), draw.size(1, 80), 3)).astype(np.uint8)
        sigmas = [draw.pick(0.0, -1.0, -1e-30, np.nan, np.inf) if draw.rarely() else draw.number() for _ in range(5)]
        return _native.image_lattice(odd(draw, photo), sigmas[0], sigmas[1], sigmas[2:], threads)
    features = numbers(draw, (dimensions, draw.size(1, 5000 if kind == "lattice" else 400))).astype(np.float32)
    line = draw.pick(-1, 2**62) if draw.rarely() else draw.pick(0, 1, draw.whole(1, 100), features.shape[1])
    if kind == "lattice":
        return _native.lattice(odd(draw, features), threads, line)
    return _native.brute_force(odd(draw, features), line)


def native_filter_and_model(draw):
    labels, threads = label_count(draw), draw.pick(-1, 0, 1, 2, 7)
    built = native_filter(draw)
    values = probabilities(draw, (labels, built.points)).astype(np.float32)
    out = np.full_like(values, -1)
    built.apply(odd(draw, values), odd(draw, out), threads)
    mass = np.zeros(built.points, np.float32)
    built.mass(odd(draw, mass), threads)

    model = _native.Model(built.points)
    factors = np.full(built.points, 1 / built.points, np.float32)
    gains = draw.pick(None, np.ones(labels, np.float32), np.ones((labels, labels), np.float32))
    finite = True
    for _ in range(draw.whole(0, 2)):
        before, after = odd(draw, factors) if draw.chance(0.5) else None, odd(draw, factors)
        finite &= all(
            np.isfinite(given).all() and np.abs(given).max() <= 1 for given in (before, after) if given is not None
        )
        model.add(None if draw.rarely() else built, before, after, gains)

    q, chosen = np.empty_like(values), np.empty(built.points, np.int32)
    report = model.infer(
        odd(draw, values),
        energies=draw.chance(0.5),
        iterations=draw.whole(-1, 4),
        tolerance=draw.pick(0.0, 1e-3, np.nan, -1.0),
        prune=draw.pick(0.0, 0.1, 5.0, np.nan),
        trace=draw.chance(0.3),
        threads=threads,
        probabilities=q,
        labels=chosen,
    )
    expect(0 <= report.steps <= 4, "steps")
    expect(((chosen >= 0) & (chosen < labels)).all(), "a label that does not exist")
    if finite:
        check_marginals(q, values.shape, 0)
