"""Ray itself: the same masks, whatever is killed meanwhile."""

import os
import random
import signal
import tempfile
import time
from collections import Counter

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image
from ray.cluster_utils import Cluster

from atrous import Segmenter
from atrous.bulk import Settings, _local_ray, run
from atrous.bulk import ray_cluster as cluster
from atrous.bulk.ray_cluster import Actors, connected
from atrous.errors import InputError

# Ray's workers are told to give way to everything else, and starve on a machine that runs other tests too.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112

pytestmark = pytest.mark.filterwarnings("ignore")


def draw_photos(folder, count, size):
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(90, 150, (*size, 3), dtype=np.uint8)
        image[8:-8, 8 : 20 + i % 20] = 230, 20, 20
        path = folder / f"{i % 3}" / f"photo{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def actors_now():
    """Processes of actors that are started by the processes of this test's cluster."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "ppid"]):
        title = " ".join(process.info["cmdline"] or [process.info["name"]])
        if title.startswith("ray::MapWorker") and process.status() != psutil.STATUS_ZOMBIE and _ours(process):
            found.append(process)
    return found


def _ours(process):
    return any(parent.pid == os.getpid() for parent in process.parents())


class Killer:
    """SIGKILLs a random actor now and then: a moment after some part has ended, in the middle of the next ones."""

    def __init__(self, chance, most):
        self.random = random.Random(time.time_ns())
        self.chance, self.most, self.killed = chance, most, []

    def __call__(self, progress):
        if len(self.killed) < self.most and self.random.random() < self.chance:
            time.sleep(self.random.uniform(0, 0.3))
            if actors := actors_now():
                victim = self.random.choice(actors)
                victim.send_signal(signal.SIGKILL)
                self.killed.append(victim.pid)


def check(photos, out, output, model):
    """Each photo has one mask, and it is the segmenter's."""
    segmenter = Segmenter(model, threads=1)
    sources = sorted(p.relative_to(photos) for p in photos.rglob("*.png"))
    table = pq.read_table(out / "shares.parquet")
    assert table["key"].to_pylist() == [p.with_suffix("").as_posix() for p in sources]
    if output == "png":
        found = {p.relative_to(out): p for p in out.rglob("*.png")}
        assert sorted(found) == sources
        masks = {source: np.array(Image.open(path)) for source, path in found.items()}
    else:
        import io

        rows = [row for part in out.glob("shard-*.parquet") for row in pq.read_table(part).to_pylist()]
        assert Counter(row["key"] for row in rows) == {p.with_suffix("").as_posix(): 1 for p in sources}
        masks = {type(sources[0])(row["source"]): np.array(Image.open(io.BytesIO(row["mask"]))) for row in rows}
    for source in sources:
        np.testing.assert_array_equal(masks[source], segmenter(photos / source).labels)
    assert not list((out / "_bulk/tmp").glob("*"))


@pytest.fixture
def two_nodes():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.second = cluster.add_node(**node)
    cluster.node = node
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.fault(
    "SIGKILL of worker processes",
    "Their images are segmented again. The masks are those of a run without the kill.",
    of=("bulk",),
)
def test_an_actor_is_killed_on_a_cluster_of_this_machine(tmp_path, tiny_model, capfd):
    draw_photos(tmp_path / "in", 24, (96, 128))
    (tmp_path / "in/bad.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    killer = Killer(1, 1)
    settings = Settings(model=tiny_model, output="parquet", shard_size=2)
    summary = run(str(tmp_path / "in"), str(out), settings, Actors(1, 1), progress=killer)
    assert killer.killed
    assert (summary.done, summary.failed) == (24, 1)
    (tmp_path / "in/bad.jpg").unlink()
    check(tmp_path / "in", out, "parquet", tiny_model)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


@pytest.mark.fault(
    "SIGKILL of worker processes",
    "Their images are segmented again. The masks are those of a run without the kill.",
    of=("bulk",),
)
@pytest.mark.slow
@pytest.mark.parametrize("output", ["png", "parquet"])
def test_300_photos_while_actors_are_killed_on_two_nodes(two_nodes, tmp_path, tiny_model, output):
    draw_photos(tmp_path / "in", 300, (240, 320))
    settings = Settings(model=tiny_model, output=output, shard_size=6)
    killer = Killer(0.2, 12)
    given, out = str(tmp_path / "in"), str(tmp_path / "out")
    summary = run(given, out, settings, Actors(2, 1), address=two_nodes.address, progress=killer)
    print(f"{len(killer.killed)} actors killed, {summary.retried} shards retried, {summary.seconds:.0f} s")
    assert killer.killed
    assert (summary.done, summary.skipped, summary.failed) == (300, 0, 0)
    check(tmp_path / "in", tmp_path / "out", output, tiny_model)


@pytest.mark.fault(
    "loss of a cluster machine",
    "Its images are segmented again. The masks are those of a run without the loss.",
    of=("bulk",),
)
@pytest.mark.slow
@pytest.mark.parametrize("output", ["png", "parquet"])
def test_300_photos_while_a_node_is_lost(two_nodes, tmp_path, tiny_model, output):
    draw_photos(tmp_path / "in", 300, (240, 320))
    lost = []

    def lose(progress):
        if not lost and progress.done >= 60:
            lost.append(progress.done)
            two_nodes.remove_node(two_nodes.second, allow_graceful=False)

    settings = Settings(model=tiny_model, output=output, shard_size=6)
    summary = run(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        settings,
        Actors(2, 1),
        address=two_nodes.address,
        progress=lose,
    )
    assert lost
    print(f"{summary.retried} shards retried, {summary.seconds:.0f} s")
    assert (summary.done, summary.failed) == (300, 0)
    check(tmp_path / "in", tmp_path / "out", output, tiny_model)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_asked_to_stop_it_tidies_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(_local_ray, "_LONGEST_SOCKET", 1000)
    monkeypatch.setattr(cluster, "_start", lambda *_: signal.signal(signal.SIGTERM, signal.SIG_IGN))  # as Ray takes it
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), connected(None, Actors(1)):  # noqa: PT012
        assert len(list(tmp_path.iterdir())) == 1
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_address_without_a_cluster():
    says = r"address 127.0.0.1:1: no Ray cluster can be reached there"
    with pytest.raises(InputError, match=says) as caught, connected("127.0.0.1:1", Actors()):
        pass
    assert "\n" not in str(caught.value)
