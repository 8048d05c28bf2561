"""Conversion of decoded frames to RGB and back without a change of color."""

from dataclasses import dataclass

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
            return cls(BT709, BT709, BT709)  # what `ToRgb` converts to
        # RGB and the matrices that swscale does not know become BT.709.
        matrix = frame.colorspace if frame.colorspace in (*_MATRICES, UNSPECIFIED) else BT709
        return cls(matrix, frame.color_trc, frame.color_primaries)


class ToRgb:
    """Conversion of a video's frames to RGB; high dynamic range becomes standard range."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return a frame as (H, W, 3) uint8 in its stored orientation."""
        if frame.color_trc in HDR_TRANSFERS:
            rgb = self._reformatter.reformat(
                frame, format="rgb24", dst_color_trc=BT709, dst_color_primaries=BT709, threads=1
            )
        else:
            rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        return np.asarray(rgb.to_ndarray())


class FromRgb:
    """Conversion of RGB to 8-bit frames with 4:2:0 chroma subsampling."""

    def __init__(self, colors: Colors) -> None:
        self.colors = colors
        self._reformatter = VideoReformatter()

    def __call__(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """Return a yuv420p frame of an (H, W, 3) uint8 image whose sides are even."""
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=_MATRICES.get(self.colors.matrix),
            dst_color_range=LIMITED,
            threads=1,
        )
        self.mark(frame)
        return frame

    def mark(self, target: object) -> None:
        """Set the color tags of a frame or an encoder."""
        target.colorspace = self.colors.matrix  # type: ignore[attr-defined]
        target.color_trc = self.colors.transfer  # type: ignore[attr-defined]
        target.color_primaries = self.colors.primaries  # type: ignore[attr-defined]
        target.color_range = LIMITED  # type: ignore[attr-defined]
