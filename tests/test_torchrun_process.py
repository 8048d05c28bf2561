import pytest

from atrous._distributed import SINGLE, TorchrunProcess
from atrous.errors import InputError


def test_shares_are_each_sample_once():
    for world in (1, 2, 3, 7):
        places = [place for rank in range(world) for place in TorchrunProcess(rank, world, rank, world).places(5)]
        assert sorted(places) == [0, 1, 2, 3, 4]


def test_the_environment_is_torchruns(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert TorchrunProcess.from_environment() == SINGLE
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert TorchrunProcess.from_environment() == TorchrunProcess(5, 8, 1, 4)
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(InputError, match="'RANK': '8'"):
        TorchrunProcess.from_environment()
    monkeypatch.delenv("RANK")
    with pytest.raises(InputError, match="'RANK': None"):
        TorchrunProcess.from_environment()


def test_one_process_needs_no_pytorch_to_gather():
    with SINGLE.group():
        assert SINGLE.gather("part") == ["part"]
