import math
import os

import pytest

from atrous import _resources
from atrous._resources import cache_bytes, check_threads, container_share, cuda_index, memory_limit, processors
from atrous.errors import InputError


@pytest.fixture
def groups(tmp_path):
    """Control groups: `a` may use 2.5 processors, `a/b` all of that, `a/b/c` one and a half; and a file naming one."""
    for place, text in {"a": "250000 100000", "a/b": "max 100000", "a/b/c": "150000 100000"}.items():
        (tmp_path / place).mkdir()
        (tmp_path / place / "cpu.max").write_text(text + "\n")

    def share(inside):
        (tmp_path / "own").write_text(f"12:cpu:/elsewhere\n0::{inside}\n")
        return container_share(tmp_path, tmp_path / "own")

    return share


@pytest.mark.parametrize(
    ("inside", "share"), [("/", math.inf), ("/a", 2.5), ("/a/b", 2.5), ("/a/b/c", 1.5), ("/not/seen/here", math.inf)]
)
def test_the_tightest_of_the_groups_around_binds(groups, inside, share):
    assert groups(inside) == share


def test_a_container_that_sees_its_own_group_as_the_root(groups, tmp_path):
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    assert groups("/") == 4


def test_a_system_without_such_groups_bounds_nothing(tmp_path):
    assert container_share(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.parametrize("text", ["", "max", "100000 0", "a b", "1 2 3"])
def test_a_file_of_another_form_bounds_nothing(tmp_path, text):
    (tmp_path / "cpu.max").write_text(text)
    (tmp_path / "own").write_text("0::/\n")
    assert container_share(tmp_path, tmp_path / "own") == math.inf


@pytest.fixture(params=["cpu,cpuacct", "cpu"])
def old_groups(request, tmp_path):
    """Groups of version 1: `a` may use 2.5 processors, `a/b` all of that, `a/b/c` one and a half."""
    for place, quota in {"": -1, "a": 250000, "a/b": -1, "a/b/c": 150000}.items():
        folder = tmp_path / "groups" / request.param / place
        folder.mkdir(parents=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")

    def share(inside):
        own = f"9:name=systemd:/x\n4:cpu,cpuacct:{inside}\n3:memory:/a\n0::/\n"
        (tmp_path / "own").write_text(own)
        return container_share(tmp_path / "groups", tmp_path / "own")

    return share


@pytest.mark.parametrize(
    ("inside", "share"), [("/", math.inf), ("/a", 2.5), ("/a/b", 2.5), ("/a/b/c", 1.5), ("/docker/1f", math.inf)]
)
def test_groups_of_version_1(old_groups, inside, share):
    assert old_groups(inside) == share


def test_a_container_of_version_1_that_sees_its_own_group_as_the_root(old_groups, tmp_path):
    for mount in (tmp_path / "groups").iterdir():
        (mount / "cpu.cfs_quota_us").write_text("40000\n")
    assert old_groups("/docker/1f") == 0.4


@pytest.mark.parametrize(("share", "expected"), [(math.inf, 4), (2.5, 3), (0.2, 1), (64, 4)])
def test_a_part_of_a_processor_counts_as_one(monkeypatch, share, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(_resources, "container_share", lambda: share)
    assert processors() == expected


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """The limit of a machine of 8 GiB, with these control groups."""
    monkeypatch.setattr(_resources, "_machine", lambda: 8 * 2**30)

    def find(groups, own):
        for place, text in groups.items():
            (tmp_path / "groups" / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / place).write_text(f"{text}\n")
        (tmp_path / "own").write_text(own)
        return memory_limit(tmp_path / "groups", tmp_path / "own")

    return find


@pytest.mark.parametrize(
    ("groups", "own", "expected"),
    [
        ({"memory.max": 2**30}, "0::/", 2**30),
        ({"memory.max": "max", "a/memory.max": 3 * 2**30, "a/b/memory.max": "max"}, "0::/a/b", 3 * 2**30),
        ({"memory/memory.limit_in_bytes": 2**30}, "4:memory:/docker/1f\n0::/", 2**30),
        ({"memory/a/memory.limit_in_bytes": 2**30}, "5:cpu:/\n4:memory:/a", 2**30),
        ({"memory/memory.limit_in_bytes": 2**63 - 4096}, "4:memory:/", 8 * 2**30),
        ({"cpu/memory.limit_in_bytes": 2**20}, "4:cpu:/", 8 * 2**30),
        ({"memory.max": "a lot"}, "0::/", 8 * 2**30),
        ({}, "", 8 * 2**30),
    ],
)
def test_the_tightest_bound(limit, groups, own, expected):
    assert limit(groups, own) == expected


def test_a_system_without_control_groups(limit, tmp_path):
    assert memory_limit(tmp_path, tmp_path / "none") == 8 * 2**30


def test_this_machine():
    assert memory_limit() > 2**27


def test_a_cache_takes_a_quarter_at_most(monkeypatch):
    for machine, expected in ((math.inf, 1000), (4000, 1000), (3000, 750)):
        monkeypatch.setattr(_resources, "memory_limit", lambda machine=machine: machine)
        assert cache_bytes(1000) == expected


@pytest.mark.parametrize(("device", "index"), [(None, 0), ("cpu", None), ("cuda", 0), ("cuda:3", 3)])
def test_devices(device, index):
    assert cuda_index(device) == index


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:1234", "CPU", 0])
def test_no_devices(device):
    with pytest.raises(InputError, match="device"):
        cuda_index(device)


@pytest.mark.parametrize("threads", [0, -1, 1025, 2.0, True, "2"])
def test_threads_that_cannot_be(threads):
    with pytest.raises(InputError, match="threads"):
        check_threads(threads)


def test_threads():
    assert check_threads(3) == 3
    assert check_threads(None) >= 1
