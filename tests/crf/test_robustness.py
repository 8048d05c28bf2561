"""Extreme inputs, too little memory, Ctrl-C, other threads: never a crash, a hang or a NaN."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from scenes import random_image, random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial
from atrous.errors import InputError

KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))


def run(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def outcome(call):
    """What a call returns, and what an InputError says instead."""
    try:
        return call(), None
    except InputError as error:
        return None, str(error)


class TestExtremes:
    @pytest.mark.parametrize("filtering", ["lattice", "exact"])
    @pytest.mark.parametrize("sigma", [1e-30, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e30])
    def test_any_sigma_works_or_says_why(self, rng, sigma, filtering):
        image = random_image(rng, 12, 17)
        p = random_probabilities(rng, 3, (12, 17))
        for kernel in (
            Spatial(weight=1, sxy=sigma),
            Bilateral(weight=1, sxy=sigma, srgb=10),
            Bilateral(weight=1, sxy=10, srgb=sigma),
        ):
            q, message = outcome(lambda kernel=kernel: DenseCRF(image, [kernel], filtering=filtering)(p))
            if message is None:
                np.testing.assert_allclose(q.sum(axis=0), 1, rtol=1e-5)
                continue
            assert filtering == "lattice"
            assert sigma < 1e-2
            assert message.startswith("sxy, srgb: features too large for the lattice")
            assert "divide by larger standard deviations" in message

    @pytest.mark.parametrize("weight", [-1e9, 1e9, 1e-9])
    @pytest.mark.parametrize("normalization", ["none", "after"])
    def test_any_weight(self, rng, weight, normalization):
        image = random_image(rng, 12, 17)
        p = random_probabilities(rng, 3, (12, 17))
        found = DenseCRF(image, [Spatial(weight=weight, sxy=3)], normalization=normalization).infer(p, trace=True)
        np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, rtol=1e-5)
        assert np.isfinite(found.energy).all()
        assert np.isfinite(found.divergence).all()

    def test_one_point(self):
        q = DenseCRF(np.zeros((1, 1, 3), np.uint8), KERNELS)(np.array([[[0.3]], [[0.7]]]))
        np.testing.assert_allclose(q.ravel(), [0.3, 0.7], atol=0.5)
        np.testing.assert_allclose(q.sum(), 1, rtol=1e-6)
        assert DenseCRF(None, [Gaussian([[0.0]], weight=1)]).labels([[0.3], [0.7]]).tolist() == [1]

    @pytest.mark.parametrize("labels", [2, 65_536])
    def test_few_and_very_many_labels(self, rng, labels):
        image = random_image(rng, 3, 4)
        p = rng.random((labels, 3, 4)).astype(np.float32)
        p /= p.sum(axis=0)
        for prune in (None, 0):
            found = DenseCRF(image, KERNELS, prune=prune, iterations=3).infer(p)
            assert np.isfinite(found.probabilities).all()
            np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, rtol=1e-3)
            np.testing.assert_array_equal(found.labels, found.probabilities.argmax(axis=0))

    def test_no_probability_at_all(self, rng):
        q = DenseCRF(random_image(rng, 12, 17), KERNELS)(np.zeros((3, 12, 17)))
        np.testing.assert_allclose(q, 1 / 3, atol=1e-6)

    def test_a_value_that_cannot_be_used_deep_in_a_batch(self, rng):
        batch = np.stack([random_probabilities(rng, 3, (12, 17))] * 3)
        batch[2, 1, 11, 16] = np.nan
        crf = DenseCRF(random_image(rng, 12, 17), KERNELS)
        with pytest.raises(InputError, match="^probabilities: expected values from 0 to 1, got NaN"):
            crf(batch)
        assert np.isfinite(crf(batch[:2])).all()

    @pytest.mark.parametrize("dimensions", [1, 2, 5, 16])
    def test_features_near_what_the_lattice_holds(self, rng, dimensions):
        p = random_probabilities(rng, 3, (50,))
        reach = 1.0
        while True:
            kernel = Gaussian(rng.uniform(-reach, reach, (50, dimensions)), weight=1)
            q, message = outcome(lambda kernel=kernel: DenseCRF(None, [kernel])(p))
            if message is not None:
                break
            np.testing.assert_allclose(q.sum(axis=0), 1, rtol=1e-5)
            reach *= 1.7
        assert message.startswith("features: features too large for the lattice")
        assert reach > 1e4

    def test_features_of_any_offset(self, rng):
        features = rng.normal(size=(60, 2))
        p = random_probabilities(rng, 3, (60,))
        near = DenseCRF(None, [Gaussian(features, weight=1)], filtering="exact")(p)
        far = DenseCRF(None, [Gaussian(features + 1e6, weight=1)])
        np.testing.assert_allclose(far(p), near, atol=0.1)


class TestSameBits:
    def test_threads_places_in_a_batch_and_runs(self, rng):
        image = random_image(rng, 150, 130)
        maps = np.stack([random_probabilities(rng, 6, (150, 130)) for _ in range(3)])
        kernels = [*KERNELS, Spatial(weight=1, sxy=12), Bilateral(weight=1, sxy=20, srgb=20, normalization="symmetric")]
        options = {"iterations": 3, "tolerance": 1e-3}
        q = DenseCRF(image, kernels, threads=1, **options)(maps)
        trace = DenseCRF(image, kernels, threads=1, **options).infer(maps[0], trace=True)
        for threads in (2, 5):
            crf = DenseCRF(image, kernels, threads=threads, **options)
            np.testing.assert_array_equal(crf(maps), q)
            np.testing.assert_array_equal(crf(maps[::-1])[::-1], q)
            again = crf.infer(maps[0], trace=True)
            np.testing.assert_array_equal(again.energy, trace.energy)
            np.testing.assert_array_equal(again.divergence, trace.divergence)

    def test_instruction_sets_agree(self, rng):
        code = """
            import sys
            import numpy as np
            from atrous import _native
            from atrous.crf import Bilateral, DenseCRF, Spatial
            chosen = _native.choose_instruction_set(sys.argv[1])
            image = (np.indices((40, 50, 3)).sum(axis=0) * 7 % 256).astype(np.uint8)
            p = np.random.default_rng(0).dirichlet(np.ones(5), size=(40, 50)).astype(np.float32)
            q = DenseCRF(image, [Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=20, srgb=40)])(p)
            np.save(sys.stdout.buffer, q if chosen else np.empty(0))
        """
        results = []
        for name in ("baseline", "v3", "v4"):
            done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), name], check=True, capture_output=True)
            q = np.frombuffer(done.stdout[-4 * 40 * 50 * 5 :], np.float32) if len(done.stdout) > 1000 else None
            if q is not None:
                results.append(q)
        assert results
        for q in results[1:]:
            np.testing.assert_allclose(q, results[0], atol=1e-6)


class TestProcess:
    def test_other_python_threads_run_on(self, rng):
        image = random_image(rng, 120, 160)
        p = random_probabilities(rng, 21, (120, 160))
        ticks, stop = [0], threading.Event()

        def tick():
            while not stop.wait(1e-4):
                ticks[0] += 1

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            crf = DenseCRF(image, KERNELS, iterations=100, threads=1, prune=0)
            before, begun = ticks[0], time.perf_counter()
            crf(p)
            during, seconds = ticks[0] - before, time.perf_counter() - begun
        finally:
            stop.set()
            thread.join()
        assert during > 20 * seconds  # on a busy machine; ten thousand a second were possible

    @pytest.mark.skipif(sys.platform != "linux", reason="limits on memory as Linux knows them")
    def test_too_little_memory_is_a_memory_error(self):
        code = """
            import resource
            import numpy as np
            from atrous.crf import Bilateral, DenseCRF, Spatial
            kernels = [Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5)]
            small = np.zeros((9, 9, 3), np.uint8), np.full((2, 9, 9), 0.5, np.float32)
            before = DenseCRF(small[0], kernels, threads=2)(small[1])
            image = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
            p = np.full((8, 400, 500), 1 / 8, np.float32)
            in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            kinds = set()
            # From what is not enough for the features to what is enough for all.
            for megabytes in (3, 10, 20, 35, 60, 100, 160, 2000):
                resource.setrlimit(resource.RLIMIT_AS, (in_use + megabytes * 2**20, resource.RLIM_INFINITY))
                try:
                    q = DenseCRF(image, kernels, threads=2, iterations=1)(p)
                    kinds.add("done")
                    assert abs(q.sum(axis=0) - 1).max() < 1e-5
                    del q
                except MemoryError:
                    kinds.add("MemoryError")
                assert np.array_equal(DenseCRF(small[0], kernels, threads=2)(small[1]), before)
            print(sorted(kinds))
        """
        process = run(code)
        out, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        assert out.strip() == "['MemoryError', 'done']"

    @pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to one process")
    @pytest.mark.parametrize(("filtering", "height"), [("lattice", 150), ("exact", 20)])
    def test_ctrl_c_stops_a_long_inference(self, filtering, height):
        code = f"""
            import signal
            import numpy as np
            from atrous.crf import Bilateral, DenseCRF
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background have switched off
            image = np.random.default_rng(0).integers(0, 256, ({height}, 200, 3), dtype=np.uint8)
            p = np.full((21, {height}, 200), 1 / 21, np.float32)
            kernels = [Bilateral(weight=4, sxy=49, srgb=5, normalization="none")]
            crf = DenseCRF(image, kernels, iterations=10**6, filtering="{filtering}", prune=0)
            print("begun", flush=True)
            try:
                crf([p, p])
            except KeyboardInterrupt:
                crf.iterations = 1
                print("interrupted", np.isfinite(crf(p)).all())
        """
        process = run(code)
        try:
            assert process.stdout.readline().strip() == "begun"
            time.sleep(0.5)
            sent = time.perf_counter()
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=30)
            seconds = time.perf_counter() - sent
        finally:
            process.kill()
        assert process.returncode == 0, errors
        assert out.strip() == "interrupted True"
        assert seconds < 5  # about 0.1 on an idle machine
