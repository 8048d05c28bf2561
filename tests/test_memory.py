import math

import pytest

from atrous import _memory
from atrous._memory import cache_bytes, memory_limit


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """The limit of a machine of 8 GiB, with these control groups."""
    monkeypatch.setattr(_memory, "_machine", lambda: 8 * 2**30)

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
        monkeypatch.setattr(_memory, "memory_limit", lambda machine=machine: machine)
        assert cache_bytes(1000) == expected
