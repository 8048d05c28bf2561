import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous._distributed import TorchrunProcess
from atrous.errors import InputError
from atrous.training.distributed import choose_device


@pytest.mark.parametrize(
    ("gpus", "beside", "local", "asked", "expected"),
    [
        (0, 1, 0, None, "cpu"),
        (1, 1, 0, None, "cuda:0"),
        (1, 1, 0, "cpu", "cpu"),
        (4, 4, 3, None, "cuda:3"),
        (1, 2, 0, None, "cpu"),  # the other process has no GPU, and the two must agree
    ],
)
def test_gpus_are_used_where_each_process_finds_its_own(monkeypatch, gpus, beside, local, asked, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert str(choose_device(asked, TorchrunProcess(local, beside, local, beside))) == expected


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="process 1"):
        choose_device("cuda", TorchrunProcess(1, 2, 1, 2))
