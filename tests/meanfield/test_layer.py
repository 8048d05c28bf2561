import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial
from atrous.errors import InputError
from atrous.meanfield import DenseCRFLayer

KERNELS = [Spatial(weight=2, sxy=1.5), Bilateral(weight=3, sxy=4, srgb=30)]
NORMALIZATIONS = ["after", "symmetric", "before", "none"]


def scene(batch=2, labels=3, shape=(5, 6), bands=3, dtype=torch.float64, seed=0):
    """Return logits and an image of smooth noise."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, labels, *shape, generator=generator, dtype=dtype)
    image = 255 * torch.rand(batch, bands, *shape, generator=generator, dtype=dtype)
    return logits, image


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", ["scalar", "label", "matrix"])
@pytest.mark.parametrize("filtering", ["exact", "lattice"])
def test_gradients_of_logits_weights_and_compatibility(normalization, form, filtering):
    logits, image = scene()
    layer = DenseCRFLayer(
        KERNELS,
        labels=3,
        iterations=3,
        normalization=normalization,
        weights=form,
        compatibility="matrix",
        filtering=filtering,
    ).double()
    weights, rewards = list(layer.weights), layer.rewards
    scale = 0.05 if normalization == "none" else 1.0

    def run(logits, first, second, rewards):
        parameters = {"weights.0": first * scale, "weights.1": second * scale, "rewards": rewards}
        return torch.func.functional_call(layer, parameters, (logits, image))

    assert torch.autograd.gradcheck(
        run,
        (logits.requires_grad_(), *weights, rewards),
        eps=1e-6,
        atol=1e-6,
        rtol=1e-4,
        check_undefined_grad=False,
        fast_mode=True,
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_of_standard_deviations_and_image(normalization):
    logits, image = scene()
    layer = DenseCRFLayer(
        KERNELS,
        labels=3,
        iterations=3,
        normalization=normalization,
        learn=("weights", "sxy", "srgb"),
        filtering="exact",
    ).double()
    names = [name for name, each in layer.named_parameters() if each.requires_grad]

    def run(image, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (logits, image))

    values = [each for each in layer.parameters() if each.requires_grad]
    if normalization == "none":
        values = [
            value.detach() * (0.05 if name.startswith("weights") else 1)
            for name, value in zip(names, values, strict=True)
        ]
        values = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(
        run,
        (image.requires_grad_(), *values),
        eps=1e-6,
        atol=1e-6,
        rtol=1e-4,
        check_undefined_grad=False,
        fast_mode=True,
    )


def test_the_transposed_lattice_is_needed():
    """With K in the place of its transpose the gradient is some percent off, as in several other projects."""
    from atrous.meanfield.lattice import Lattice

    torch.manual_seed(0)
    features = 2 * torch.randn(1, 60, 5, dtype=torch.float64)
    lattice, eye = Lattice(features), torch.eye(60, dtype=torch.float64)[None]
    matrix = lattice.apply(eye)
    assert (lattice.apply(eye, transposed=True) - matrix.mT).abs().max() < 1e-12
    assert (matrix - matrix.mT).norm() / matrix.norm() > 0.01


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("shape", "bands"), [((20, 24), 3), ((20, 24), 1), ((5, 6, 7), 2)])
def test_it_is_the_dense_crf(normalization, shape, bands):
    logits, image = scene(batch=2, labels=4, shape=shape, bands=bands, dtype=torch.float32)
    for filtering in ("fine", "exact"):
        layer = DenseCRFLayer(
            KERNELS, labels=4, iterations=4, normalization=normalization, filtering=filtering, returns="probabilities"
        )
        found = layer(logits, image)
        for one, unary, picture in zip(found, logits, image, strict=True):
            crf = DenseCRF(
                np.moveaxis(picture.numpy(), 0, -1),
                layer.kernels,
                iterations=4,
                normalization=normalization,
                filtering=filtering,
                prune=0,
            )
            expected = crf(energies=-unary.numpy())
            np.testing.assert_allclose(one.detach().numpy(), expected, atol=1e-4 if normalization == "none" else 2e-5)


def test_learned_numbers_go_back_to_dense_crf():
    logits, image = scene(batch=1, labels=4, shape=(16, 18), dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    for weights, compatibility in (("scalar", "potts"), ("scalar", "label"), ("label", "potts"), ("matrix", "matrix")):
        layer = DenseCRFLayer(
            KERNELS,
            labels=4,
            iterations=3,
            weights=weights,
            compatibility=compatibility,
            learn=("weights", "compatibility", "sxy", "srgb"),
            filtering="exact",
            returns="probabilities",
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter += 0.2 * torch.rand(parameter.shape, generator=generator)
        crf = layer.crf(np.moveaxis(image[0].numpy(), 0, -1), filtering="exact", prune=0)
        expected = crf(energies=-logits[0].numpy())
        np.testing.assert_allclose(layer(logits, image)[0].detach().numpy(), expected, atol=3e-5)
        again = DenseCRFLayer(KERNELS, labels=4, weights=weights, compatibility=compatibility, iterations=3)
        again.load_state_dict(layer.state_dict())
        assert again.kernels[1].srgb == layer.kernels[1].srgb


def test_a_batch_is_its_images():
    logits, image = scene(batch=3, labels=4, shape=(12, 14), dtype=torch.float32)
    for filtering in ("fine", "lattice", "exact"):
        layer = DenseCRFLayer(KERNELS, labels=4, iterations=3, filtering=filtering)
        together = layer(logits, image)
        for place in range(3):
            alone = layer(logits[place : place + 1], image[place : place + 1])[0]
            torch.testing.assert_close(together[place], alone, atol=2e-5, rtol=0)
        assert torch.equal(together, layer(logits, image))


def test_learned_standard_deviations_point_the_same_way_with_any_filter():
    logits, image = scene(batch=1, labels=4, shape=(24, 24), dtype=torch.float32)
    image = torch.nn.functional.interpolate(image[..., :6, :6], (24, 24), mode="bilinear")
    target = logits.argmax(1)
    directions = {}
    for filtering in ("exact", "lattice", "fine"):
        layer = DenseCRFLayer([Bilateral(weight=3, sxy=6, srgb=20)], labels=4, iterations=3, filtering=filtering)
        given = image.clone().requires_grad_()
        torch.nn.functional.cross_entropy(layer(logits, given), target).backward()
        directions[filtering] = given.grad.flatten()
    for filtering, least in (("lattice", 0.8), ("fine", 0.9)):
        assert torch.cosine_similarity(directions["exact"], directions[filtering], dim=0) > least


def test_crf_as_rnn():
    torch.manual_seed(0)
    names = ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix")
    state = {f"crfrnn.{name}": torch.eye(3) + 0.3 * torch.randn(3, 3) for name in names}
    layer = DenseCRFLayer.from_crfasrnn(
        state, filtering="exact", kernels=[Spatial(weight=1, sxy=2), Bilateral(weight=1, sxy=6, srgb=30)]
    )
    logits, image = scene(labels=3, batch=1, shape=(7, 9), dtype=torch.float32)
    ys, xs = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    places = torch.stack([ys, xs], -1).reshape(-1, 2)
    colors = image[0].flatten(1).T
    kernels = [torch.exp(-0.5 * torch.cdist(f, f) ** 2) for f in (places / 2, torch.cat([places / 6, colors / 30], 1))]
    kernels = [kernel / kernel.sum(1, keepdim=True) for kernel in kernels]
    scores = unary = logits[0].flatten(1)
    for _ in range(5):
        q = scores.softmax(0)
        message = sum(state[f"crfrnn.{name}"] @ (q @ k.T) for name, k in zip(names, kernels, strict=False))
        scores = unary + state["crfrnn.compatibility_matrix"] @ message
    torch.testing.assert_close(layer(logits, image)[0].flatten(1), scores, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="bilateral_ker_weights"):
        DenseCRFLayer.from_crfasrnn({names[0]: torch.eye(3)})


@pytest.mark.parametrize("mixed", [False, True])
def test_the_settings_of_monai(mixed):
    """The update of `monai.networks.blocks.CRF`, softmax(logits + update_factor * messages), with exact kernels."""
    logits, image = scene(labels=3, batch=1, shape=(7, 9), dtype=torch.float32)
    reference = image / 255
    bilateral_weight, gaussian_weight, update_factor, matrix = 1.5, 0.5, 3.0, torch.eye(3)
    if mixed:
        matrix = matrix + 0.3 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    kernels = [
        Spatial(weight=update_factor * gaussian_weight, sxy=2),
        Bilateral(weight=update_factor * bilateral_weight, sxy=5, srgb=0.5),
    ]
    form = "matrix" if mixed else "potts"
    settings = {"labels": 3, "iterations": 5, "compatibility": form, "learn": (), "filtering": "exact"}
    layer = DenseCRFLayer(kernels, returns="probabilities", **settings)
    if mixed:
        layer.rewards.copy_(matrix.T)
    places = torch.stack(torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij"), -1).reshape(-1, 2)
    q = logits[0].flatten(1).softmax(0)
    features = [places / 2, torch.cat([places / 5, reference[0].flatten(1).T / 0.5], 1)]
    gaussians = [torch.exp(-0.5 * torch.cdist(f, f) ** 2) for f in features]
    spatial, bilateral = (gaussian / gaussian.sum(1, keepdim=True) for gaussian in gaussians)
    for _ in range(5):
        combined = bilateral_weight * (q @ bilateral.T) + gaussian_weight * (q @ spatial.T)
        q = (logits[0].flatten(1) + update_factor * (combined.T @ matrix).T).softmax(0)
    torch.testing.assert_close(layer(logits, reference)[0].flatten(1), q, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_does_not_grow():
    logits, image = scene(labels=21, shape=(31, 31), dtype=torch.float32)
    layer = DenseCRFLayer("deeplab-largefov", labels=21, iterations=5, weights="matrix", compatibility="matrix")

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def step():
        layer(logits.clone().requires_grad_(), image).logsumexp(1).mean().backward()

    for _ in range(10):
        step()
    before = resident()
    for _ in range(100):
        step()
    # Each step stores 0.9 MiB for its backward pass: 100 leaks would be 90 MiB.
    assert resident() - before < 20


def test_a_network_learns_through_the_layer():
    torch.manual_seed(0)
    truth = torch.zeros(2, 16, 16, dtype=torch.long)
    truth[:, 4:12, 5:13] = 1
    image = 60 + 120.0 * truth[:, None].expand(-1, 3, -1, -1) + 20 * torch.randn(2, 3, 16, 16)
    network = torch.nn.Conv2d(3, 2, 1)
    layer = DenseCRFLayer(
        [Bilateral(weight=1, sxy=8, srgb=30)], labels=2, iterations=3, learn=("weights", "sxy", "srgb")
    )
    optimizer = torch.optim.Adam([*network.parameters(), *layer.parameters()], lr=0.05)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(layer(network(image / 255), image), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert layer.kernels[0] != Bilateral(weight=1, sxy=8, srgb=30)
    assert 0 < layer.kernels[0].srgb < 100


def test_autocast_computes_in_float32():
    logits, image = scene(batch=1, dtype=torch.float32)
    layer = DenseCRFLayer(KERNELS, labels=3, iterations=2, filtering="exact")
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(logits.bfloat16(), image)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, layer(logits.bfloat16().float(), image))


@pytest.mark.parametrize(
    ("form", "filtering", "dtype"),
    [("scalar", "lattice", torch.float32), ("matrix", "lattice", torch.float32), ("label", "exact", torch.float64)],
)
def test_compiled_it_is_one_graph_with_the_same_scores_and_gradients(form, filtering, dtype):
    logits, image = scene(dtype=dtype)
    layer = DenseCRFLayer(KERNELS, labels=3, iterations=2, filtering=filtering, weights=form)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    results = []
    for run in (layer, compiled):
        given = logits.clone().requires_grad_()
        scores = run(given, image)
        loss = torch.nn.functional.cross_entropy(scores, torch.zeros(2, 5, 6, dtype=torch.long))
        results.append([scores, *torch.autograd.grad(loss, [given, *layer.weights])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-6)
    with pytest.raises(InputError, match="finite"):
        compiled(logits * float("nan"), image)


@pytest.mark.parametrize(("filtering", "dtype"), [("lattice", torch.float32), ("exact", torch.float64)])
def test_the_operator_of_graphs_passes_pytorch_s_checks(filtering, dtype):
    from atrous.meanfield.compiled import _forward

    logits, image = scene(dtype=dtype)
    given = logits.flatten(2).transpose(1, 2).requires_grad_()  # as the layer passes it, not contiguous
    gains = [torch.tensor([1.0, 2.0, 3.0], requires_grad=True), torch.eye(3).requires_grad_()]
    log_sxy, log_srgb = [torch.tensor([0.5]), torch.tensor([1.5])], [torch.tensor([3.5])]
    arguments = (given, image, gains, log_sxy, log_srgb, "spatial after,bilateral symmetric", filtering, 2)
    torch.library.opcheck(_forward, arguments)


def test_compiled_with_learned_standard_deviations():
    logits, image = scene(batch=1, dtype=torch.float32)
    layer = DenseCRFLayer(KERNELS, labels=3, iterations=2, learn=("sxy", "srgb"))
    compiled = torch.compile(layer, backend="eager")
    assert torch.equal(compiled(logits, image), layer(logits, image))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda logits, image: (logits[:, :2], image), "logits"),
        (lambda logits, image: (logits.int(), image), "logits"),
        (lambda logits, image: (logits[:0], image[:0]), "logits"),
        (lambda logits, image: (logits * float("nan"), image), "finite"),
        (lambda logits, image: (logits.softmax(1), image), "probabilities"),
        (lambda logits, image: (logits.numpy(), image), "from_numpy"),
        (lambda logits, image: (logits, image[..., :4]), "image"),
        (lambda logits, image: (logits, image.half()), "float16"),
        (lambda logits, image: (logits, image / 255), "255"),
        (lambda logits, image: (logits.to("meta"), image), "device"),
    ],
)
def test_bad_input_is_one_line(change, word):
    layer = DenseCRFLayer(KERNELS, labels=3)
    with pytest.raises(InputError, match=word) as caught:
        layer(*change(*scene(dtype=torch.float32)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"kernels": "deeplabb"}, "preset"),
        ({"kernels": [Gaussian(np.zeros((4, 1)), 1.0)]}, "kernels"),
        ({"kernels": [Spatial(weight=1, sxy=1, compatibility=[1, 2, 3])]}, "compatibility"),
        ({"labels": 1}, "labels"),
        ({"learn": ("compatibility",)}, "potts"),
        ({"learn": ("srgb",), "kernels": [Spatial(weight=1, sxy=1)]}, "learn"),
        ({"weights": "vector"}, "weights"),
        ({"compatibility": "none"}, "compatibility"),
        ({"learn": ("sigma",)}, "learn"),
        ({"filtering": "fast"}, "filtering"),
        ({"normalization": "mean"}, "normalization"),
    ],
)
def test_bad_arguments(arguments, word):
    with pytest.raises(InputError, match=word):
        DenseCRFLayer(**{"kernels": KERNELS, "labels": 3, **arguments})
