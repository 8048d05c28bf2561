"""Where labels may be, what arrays and tensors may be, and that all of them mean the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_image, random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial
from atrous.errors import InputError

KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))


@pytest.fixture
def crf(rng):
    return DenseCRF(random_image(rng, 12, 17), KERNELS)


@pytest.fixture
def p(rng):
    return random_probabilities(rng, 4, (12, 17))


class TestLayouts:
    def test_labels_last(self, crf, p):
        q, last = crf(p), crf(np.ascontiguousarray(np.moveaxis(p, 0, -1)))
        assert last.shape == (12, 17, 4)
        assert last.flags.c_contiguous
        np.testing.assert_array_equal(np.moveaxis(last, -1, 0), q)
        np.testing.assert_array_equal(crf.labels(np.moveaxis(p, 0, -1)), crf.labels(p))

    @given(
        shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
        labels=st.integers(2, 7),
        last=st.booleans(),
        batch=st.sampled_from([None, 0, 1, 3]),
        energies=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_layout_is_that_of_each_unary_alone(self, shape, labels, last, batch, energies, seed):
        rng = np.random.default_rng(seed)
        crf = DenseCRF(None, [Gaussian(rng.normal(size=(*shape, 2)), weight=1)])
        maps = [random_probabilities(rng, labels, shape) for _ in range(1 if batch is None else batch)]
        stack = np.array(maps).reshape(-1, labels, *shape)
        given = np.moveaxis(stack, 1, -1) if last else stack
        given = given[0] if batch is None else given
        name = "energies" if energies else "probabilities"
        call = {name: given, "channels": "last" if last else None}
        q, chosen = crf(**call), crf.labels(**call)
        assert q.shape == given.shape
        assert chosen.shape == (shape if batch is None else (batch, *shape))
        for i, one in enumerate(maps):
            alone = crf(**{name: one})
            ours = q if batch is None else q[i]
            np.testing.assert_array_equal(np.moveaxis(ours, -1, 0) if last else ours, alone)
            np.testing.assert_array_equal(chosen if batch is None else chosen[i], alone.argmax(axis=0))

    def test_where_both_would_fit_labels_are_first(self, rng):
        p = random_probabilities(rng, 6, (6, 6))
        crf = DenseCRF(random_image(rng, 6, 6), KERNELS)
        np.testing.assert_allclose(crf(p).sum(axis=0), 1, rtol=1e-5)
        last = np.moveaxis(p, 0, -1)
        np.testing.assert_array_equal(crf(last, channels="last"), np.moveaxis(crf(p), 0, -1))
        assert not np.array_equal(crf(last), crf(last, channels="last"))

    def test_inference_keeps_the_layout(self, crf, p):
        first, last = crf.infer(p), crf.infer(np.moveaxis(p, 0, -1))
        np.testing.assert_array_equal(np.moveaxis(last.probabilities, -1, 0), first.probabilities)
        np.testing.assert_array_equal(last.labels, first.labels)


class TestArrays:
    def test_strides_types_and_lists(self, crf, p):
        q = crf(p)
        readonly = p.copy()
        readonly.flags.writeable = False
        wide = np.zeros((8, 24, 34), np.float32)
        wide[::2, ::2, ::2] = p
        mirrored = np.ascontiguousarray(p[:, ::-1, ::-1])
        packed = np.zeros(p.shape, [("pad", "u1"), ("value", "<f4")])  # neither aligned nor a multiple of its size
        packed["value"] = p
        lists = p.tolist()
        for same in (
            readonly,
            wide[::2, ::2, ::2],
            mirrored[:, ::-1, ::-1],
            np.asfortranarray(p),
            packed["value"],
            p.astype(float),
            p.astype(">f4"),
            p.astype(np.longdouble),
            lists,
        ):
            np.testing.assert_array_equal(crf(same), q)

    def test_a_value_for_all_pixels(self, crf):
        one = np.broadcast_to(np.array([0.6, 0.4], np.float32)[:, None, None], (2, 12, 17))
        np.testing.assert_array_equal(crf(one), crf(one.copy()))

    @pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64, bool])
    def test_other_numbers(self, crf, p, dtype):
        energies = (3 * p).astype(dtype)
        q = crf(energies=energies)
        assert q.dtype == np.float32
        np.testing.assert_array_equal(q, crf(energies=energies.astype(np.float32)))

    def test_single_precision_in_any_layout_is_not_copied(self, crf, p, monkeypatch):
        seen = []
        monkeypatch.setattr(
            crf._delegate, "_run", lambda unary, planes, *_, **outputs: seen.append(unary.readable(planes))
        )
        last = np.ascontiguousarray(np.moveaxis(p, 0, -1))
        for array in (p, last, np.stack([p, p]), np.moveaxis(last, -1, 0)):
            seen.clear()
            crf(array)
            assert len(seen) == (2 if array.ndim == 4 else 1)
            assert all(np.shares_memory(planes, array) for planes in seen)

    def test_dlpack_alone(self, crf, p):
        class Exporter:
            def __dlpack__(self, **options):
                return p.__dlpack__(**options)

            def __dlpack_device__(self):
                return p.__dlpack_device__()

        np.testing.assert_array_equal(crf(Exporter()), crf(p))

    @pytest.mark.parametrize("labels", [2, 256, 257, 65_536, 65_537])
    def test_labels_have_the_smallest_type(self, labels):
        energies = np.ones((labels, 2, 3), np.float32)
        energies[-1] = 0
        found = DenseCRF(np.zeros((2, 3, 3), np.uint8), KERNELS).labels(energies=energies)
        assert found.dtype == (np.uint8 if labels <= 256 else np.uint16 if labels <= 65_536 else np.int32)
        assert (found == labels - 1).all()


class TestTensors:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
    def test_a_tensor_gives_a_tensor_of_its_type(self, torch, crf, p, dtype):
        tensor = torch.from_numpy(p).to(getattr(torch, dtype))
        q = crf(tensor)
        assert isinstance(q, torch.Tensor)
        assert q.dtype == tensor.dtype
        expected = torch.from_numpy(crf(tensor.float().numpy())).to(tensor.dtype)
        assert torch.equal(q, expected)

    def test_layouts_batches_and_labels(self, torch, crf, p):
        last = torch.from_numpy(p).permute(1, 2, 0)
        np.testing.assert_array_equal(crf(last).permute(2, 0, 1).numpy(), crf(p))
        batch = torch.from_numpy(np.stack([p, p[::-1]]))
        labels = crf.labels(energies=batch)
        assert labels.dtype == torch.uint8
        np.testing.assert_array_equal(labels.numpy(), crf.labels(energies=batch.numpy()))
        inference = crf.infer(torch.nn.Parameter(torch.from_numpy(p), requires_grad=False))
        assert isinstance(inference.probabilities, torch.Tensor)
        assert isinstance(inference.labels, torch.Tensor)

    def test_many_labels_have_a_signed_type(self, torch, crf, p):
        energies = torch.zeros(300, 12, 17)
        assert crf.labels(energies=energies).dtype == torch.int32

    def test_integers_give_single_precision(self, torch, crf, p):
        assert crf(energies=torch.from_numpy((3 * p).astype(np.int64))).dtype == torch.float32

    def test_image_and_features(self, torch, rng, p):
        image = random_image(rng, 12, 17)
        given = DenseCRF(torch.from_numpy(image), KERNELS)(p)
        np.testing.assert_array_equal(given, DenseCRF(image, KERNELS)(p))
        features = rng.normal(size=(12, 17, 3)).astype(np.float32)
        given = DenseCRF(None, [Gaussian(torch.from_numpy(features), weight=1)])(p)
        np.testing.assert_array_equal(given, DenseCRF(None, [Gaussian(features, weight=1)])(p))

    @pytest.mark.parametrize(
        ("change", "remedy"),
        [
            (lambda t: t.requires_grad_(), r"\.detach\(\)"),
            (lambda t: t.to("meta"), r"\.cpu\(\)"),
            (lambda t: t.to_sparse(), "dense"),
            (lambda t: t * 1j, "float"),
        ],
    )
    def test_tensors_that_cannot_be_read(self, torch, crf, p, change, remedy):
        with pytest.raises(InputError, match=f"^probabilities: .*{remedy}"):
            crf(change(torch.from_numpy(p)))
