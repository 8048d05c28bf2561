import dataclasses

import pytest


@pytest.fixture
def narrow(monkeypatch):
    """Networks of the paper's geometry with four channels a layer while the test runs."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from atrous.network import multiscale
    from atrous.network.deeplab import TRUNK
    from atrous.network.variants import VARIANTS

    for stage, spec in TRUNK.items():
        monkeypatch.setitem(TRUNK, stage, spec._replace(channels=4))
    for name, row in VARIANTS.items():
        monkeypatch.setitem(VARIANTS, name, dataclasses.replace(row, channels=4))
    for name, (channels, stride) in multiscale.BRANCHES.items():
        monkeypatch.setitem(multiscale.BRANCHES, name, (min(channels, 4), stride))
    monkeypatch.setattr(multiscale, "BRANCH_CHANNELS", 4)
