"""What a server allows, and what a client may choose."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..data.metadata import CrfParameters
from ..errors import InputError

# Scheme and host in small letters, a port if it is not the scheme's own, and nothing behind.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([^\s/?#@:\[\]A-Z*]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Bounds of a server.

    Attributes
    ----------
    max_megapixels : float
        Of a picture, read from its header before it is decoded.
    max_megabytes : float
        Of an upload.
    queue : int
        Requests that may wait; one more is refused.
    workers : int
        Requests that are computed at a time.
    upload_seconds : float
        Within which an upload has to arrive.
    kept_megabytes : float
        Photos and scores kept in memory for those who try parameters.
    file_megabytes : float
        Uploads and results kept in the temporary folder.
    origins : tuple of str
        Of web pages that may post here beside the server's own.
    """

    max_megapixels: float = 16.0
    max_megabytes: float = 64.0
    queue: int = 32
    workers: int = 2
    upload_seconds: float = 60.0
    kept_megabytes: float = 512.0
    file_megabytes: float = 2048.0
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_megapixels", "max_megabytes", "upload_seconds", "kept_megabytes", "file_megabytes"):
            if not 0 < getattr(self, name) < 1e6:
                raise InputError(f"{name.replace('_', '-')} {getattr(self, name)}: expected more than 0")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"origin {origin}: expected what a browser names, such as https://my.site or http://localhost:3000"
                )
        if self.queue < 0:
            raise InputError(f"queue {self.queue}: expected 0 (nobody waits) or more")
        if self.workers < 1:
            raise InputError(f"workers {self.workers}: expected at least 1")

    @property
    def max_bytes(self) -> int:
        """Of an upload."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Of a picture."""
        return int(self.max_megapixels * 1e6)


class CrfChoice(BaseModel):
    """The CRF's parameters; those left out are the model's own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weight: float | None = Field(None, ge=0, le=50, description="Of the bilateral kernel.")
    sxy: float | None = Field(
        None, ge=1, le=500, description="Its reach: standard deviation in pixels of the picture that the network sees."
    )
    srgb: float | None = Field(None, ge=1, le=255, description="Its standard deviation in gray values, 0 to 255.")
    spatial_weight: float | None = Field(None, ge=0, le=50, description="Of the spatial kernel.")
    spatial_sxy: float | None = Field(None, ge=0.5, le=50, description="Its standard deviation in pixels.")
    iterations: int | None = Field(None, ge=0, le=50, description="Mean field steps.")
    normalization: Literal["after", "symmetric", "before", "none"] | None = Field(
        None, description="Of both kernels' messages."
    )

    def parameters(self, model: CrfParameters) -> CrfParameters:
        """Return the model's parameters with the chosen ones in their place."""
        chosen = {name: getattr(self, name) for name in CrfChoice.model_fields}
        return dataclasses.replace(model, **{name: value for name, value in chosen.items() if value is not None})
