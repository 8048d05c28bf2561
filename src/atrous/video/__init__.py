"""Segmentation of videos: overlaid videos and label frames (extra "video")."""

from ..errors import MissingExtra

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "av":
        raise
    raise MissingExtra.of("av is not installed, but videos need it", "video") from None

from .outputs import output_paths, outputs_missing, stored_key
from .reader import Frame, VideoReader
from .segment_video import Progress, VideoReport, segment_video

__all__ = [
    "Frame",
    "Progress",
    "VideoReader",
    "VideoReport",
    "output_paths",
    "outputs_missing",
    "segment_video",
    "stored_key",
]
