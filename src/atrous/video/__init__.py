"""Clips to overlaid clips and label frames (extra "video")."""

from ..errors import MissingExtra

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "av":
        raise
    raise MissingExtra("av is not installed: clips need the extra, pip install 'atrous[video]'") from None

from .reader import Clip, Frame
from .segment_video import Progress, VideoReport, segment_video

__all__ = ["Clip", "Frame", "Progress", "VideoReport", "segment_video"]
