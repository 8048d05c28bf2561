import pytest

from atrous.data.metadata import CrfParameters
from atrous.errors import InputError
from atrous.web.config import CrfChoice, ServerSettings


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_megapixels", 0, "max-megapixels 0: expected more than 0"),
        ("max_megabytes", float("nan"), "max-megabytes nan: expected more than 0"),
        ("compute_seconds", float("inf"), "compute-seconds inf"),
        ("queue", -1, "queue -1: expected at least 0"),
        ("workers", 0, "workers 0: expected at least 1"),
        ("sessions", 0, "sessions 0: expected at least 1"),
    ],
)
def test_limits_that_cannot_be(name, value, says):
    with pytest.raises(InputError, match=says):
        ServerSettings(**{name: value})
    ServerSettings(queue=0)


@pytest.mark.parametrize(
    "origin",
    [
        "https://my.site/",
        "my.site",
        "https://my.site/page",
        "*",
        "https://",
        "https://u@my.site",
        "HTTPS://My.Site",
        "http://[",
    ],
)
def test_origins_that_no_browser_sends(origin):
    with pytest.raises(InputError, match="^origin .*: expected what a browser sends, such as https://my.site"):
        ServerSettings(origins=(origin,))


@pytest.mark.parametrize(
    "origin", ["https://my.site", "http://localhost:3000", "http://[::1]:3000", "app://obsidian.md"]
)
def test_origins(origin):
    assert ServerSettings(origins=(origin,)).origins == (origin,)


def test_parameters_left_out_are_the_model_s():
    model = CrfParameters(weight=4, sxy=60, srgb=5)
    assert CrfChoice(srgb=7, iterations=0).parameters(model) == CrfParameters(4, 60, 7, iterations=0)
