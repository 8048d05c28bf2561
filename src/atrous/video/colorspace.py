"""Conversion of decoded frames to RGB and back without a change of color."""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

# Numbers of ITU-T H.273, as FFmpeg uses them.
BT709, UNSPECIFIED = 1, 2
LIMITED = 1
HDR_TRANSFERS = (16, 18)  # PQ, HLG
# Matrix coefficients that swscale converts by, and the number it knows each by.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}


@dataclass(frozen=True)
class Colors:
    """Color tags of an overlaid video: those of the source, in limited range.

    Attributes
    ----------
    matrix, transfer, primaries : int
        Code points of ITU-T H.273; 2 if the video has no tag. Then BT.601 is used in both directions, so that the
        colors stay the same whichever matrix a player assumes.
    """

    matrix: int
    transfer: int
    primaries: int

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Colors":
        """Return the tags for an overlay of a video with this frame."""
        if frame.color_trc in HDR_TRANSFERS:
            return cls(BT709, BT709, BT709)  # what `to_rgb` converts to
        # RGB and the matrices that swscale does not know become BT.709.
        matrix = frame.colorspace if frame.colorspace in (*_MATRICES, UNSPECIFIED) else BT709
        return cls(matrix, frame.color_trc, frame.color_primaries)

    def mark(self, target: Any) -> None:
        """Set the color tags of a frame or an encoder."""
        target.colorspace, target.color_trc, target.color_primaries = self.matrix, self.transfer, self.primaries
        target.color_range = LIMITED


def to_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as (H, W, 3) uint8 in its stored orientation; high dynamic range becomes standard range."""
    standard = {"dst_color_trc": BT709, "dst_color_primaries": BT709} if frame.color_trc in HDR_TRANSFERS else {}
    return np.asarray(reformatter.reformat(frame, format="rgb24", threads=1, **standard).to_ndarray())


def from_rgb(reformatter: VideoReformatter, image: NDArray[np.uint8], colors: Colors) -> av.VideoFrame:
    """Return a yuv420p frame of an (H, W, 3) uint8 image whose sides are even."""
    frame = reformatter.reformat(
        av.VideoFrame.from_ndarray(image, format="rgb24"),
        format="yuv420p",
        dst_colorspace=_MATRICES.get(colors.matrix),
        dst_color_range=LIMITED,
        threads=1,
    )
    colors.mark(frame)
    return frame
