"""Server settings and the CRF parameters of a request."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..data import CrfParameters
from ..errors import InputError

# Scheme and host in lower case, a port unless it is the scheme's own, no path.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([^\s/?#@:\[\]A-Z*]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Limits of a server.

    Attributes
    ----------
    max_megapixels : float
        Of an image, read from its header before it is decoded.
    max_megabytes : float
        Of a request.
    queue, workers : int
        Requests that may wait (more get 429), and that are computed at a time.
    connections : int
        At the limit, the connection that has waited longest for its request is closed. On POSIX at most half of the
        process' file descriptors.
    header_seconds, upload_seconds, compute_seconds : float
        Time for a request's headers, for its body, and from then to its result.
    upload_megabytes : float
        Of all uploads that arrive or wait, in memory and in unnamed temporary files.
    sessions, session_megabytes, session_seconds : int, float, float
        Pages whose image and scores are stored, their memory, and the time after which an unused one is deleted. An
        open page uses its own every 20 s.
    origins : tuple of str
        Other web pages that may call the HTTP interface, as browsers send it: https://my.site. Their hosts are
        accepted as `Host`.
    loopback : bool
        Accept only `Host: localhost`, 127.0.0.1, [::1] and the origins' hosts, against DNS rebinding.
    """

    max_megapixels: float = 16.0
    max_megabytes: float = 64.0
    queue: int = 32
    workers: int = 2
    connections: int = 512
    header_seconds: float = 10.0
    upload_seconds: float = 60.0
    compute_seconds: float = 300.0
    upload_megabytes: float = 512.0
    sessions: int = 64
    session_megabytes: float = 512.0
    session_seconds: float = 50.0
    origins: tuple[str, ...] = ()
    loopback: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if field.type is float and not 0 < value < 1e6:
                raise InputError(f"{name} {value}: expected more than 0")
            if field.type is int and value < (field.name != "queue"):
                raise InputError(f"{name} {value}: expected at least {int(field.name != 'queue')}")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"origin {origin}: expected what a browser sends, such as https://my.site or http://localhost:3000"
                )

    @property
    def max_bytes(self) -> int:
        """Of a request."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Of an image."""
        return int(self.max_megapixels * 1e6)


class CrfChoice(BaseModel):
    """CRF parameters. Default of each: the model's own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weight: float | None = Field(None, ge=0, le=50, description="Weight of the bilateral kernel.")
    sxy: float | None = Field(
        None, ge=1, le=500, description="Its standard deviation in pixels of the image that the network sees."
    )
    srgb: float | None = Field(None, ge=1, le=255, description="Its standard deviation in color values, 0 to 255.")
    spatial_weight: float | None = Field(None, ge=0, le=50, description="Weight of the spatial kernel.")
    spatial_sxy: float | None = Field(None, ge=0.5, le=50, description="Its standard deviation in pixels.")
    iterations: int | None = Field(None, ge=0, le=50, description="Mean-field steps.")
    normalization: Literal["after", "symmetric", "before", "none"] | None = Field(
        None, description="Of both kernels' messages."
    )

    def parameters(self, model: CrfParameters) -> CrfParameters:
        """Return the model's parameters with the chosen ones replaced."""
        chosen = {name: getattr(self, name) for name in CrfChoice.model_fields}
        return dataclasses.replace(model, **{name: value for name, value in chosen.items() if value is not None})
