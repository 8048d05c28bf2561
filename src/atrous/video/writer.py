"""Writing an overlaid clip: H.264 in MP4, the times of the original, its sound."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import InputError
from ..labelmap.png import SOFTWARE
from .audio import COPIED, codec_name, open_sounds
from .colorspace import FromRgb
from .reader import Clip, Frame

ENCODER, _OPTIONS = "libx264", {"preset": "veryfast", "crf": "20"}
# What a file says of its own format.
_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "comment"})


class ClipWriter:
    """Writes one overlaid clip.

    Parameters
    ----------
    path : path
        The file, written as MP4 whatever its name.
    clip : Clip
        Where times and sound come from.
    first : Frame
        Its first frame, which sets the size: the frame's, one more where a side is odd.

    Attributes
    ----------
    notes : list of str
        What is not as it was in the clip.
    """

    def __init__(self, path: Path, clip: Clip, first: Frame) -> None:
        self.notes: list[str] = []
        height, width, _ = first.image.shape
        self.size = width, height
        self._clip = clip
        self._from_rgb = FromRgb(first.colors)
        self._open(path, first)

    def _open(self, path: Path, first: Frame) -> None:
        """Open the output with the sound copied, else encoded, else without: whatever an MP4 file can be made of."""
        sounds = self._clip.sounds
        for attempt in ("copy", "encode", "leave out") if sounds else ("leave out",):
            self._container = av.open(f"file:{path}", "w", format="mp4", container_options={"movflags": "+faststart"})
            try:
                self._stream = self._add_picture(first)
                self._sounds = {}
                if attempt != "leave out":
                    self._sounds = open_sounds(self._container, sounds, self._clip.origin, copy=attempt == "copy")
                about = {key: text for key, text in self._clip.metadata.items() if key.lower() not in _OWN_KEYS}
                self._container.metadata.update(about | {"comment": SOFTWARE})
                self._container.start_encoding()
            except (FFmpegError, ValueError) as error:
                if attempt == "leave out":
                    raise self._cannot(error) from None
                self._container.close()
                continue
            self._note_sounds(sounds, copied=attempt == "copy")
            return

    def _cannot(self, error: Exception) -> Exception:
        if isinstance(error, OSError):  # the disk's fault
            return error
        width, height = self.size
        reason = getattr(error, "strerror", None) or str(error)
        return InputError(
            f"{self._clip.path}: frames of {width}x{height} cannot be encoded ({reason}); scale the clip down, H.264"
            " goes to 16384 pixels a side"
        )

    def _add_picture(self, first: Frame) -> Any:
        if ENCODER not in av.codecs_available:
            raise InputError(f"PyAV's FFmpeg: expected the encoder {ENCODER}, found none; pip install av brings it")
        width, height = (side + side % 2 for side in self.size)
        stream: Any = self._container.add_stream(ENCODER, rate=self._clip.rate, options=dict(_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._clip.time_base
        context.sample_aspect_ratio = first.aspect
        context.flags |= Flags.frame_duration
        self._from_rgb.mark(context)
        return stream

    def _note_sounds(self, streams: Sequence[Any], *, copied: bool) -> None:
        for number, stream in enumerate(streams, 1):
            name = f"sound track {number} ({codec_name(stream)})"
            if stream.index not in self._sounds:
                self.notes.append(f"{name} is left out: it cannot be decoded, or not be stored as MP4")
            elif not copied or codec_name(stream) not in COPIED:
                self.notes.append(f"{name} is encoded as AAC")

    def add_sound(self, packets: Sequence[Any]) -> None:
        """Write packets of the clip's sound."""
        for packet in packets:
            if packet.stream.index in self._sounds:
                self._sounds[packet.stream.index].add(packet)

    def add(self, picture: NDArray[np.uint8], frame: Frame) -> None:
        """Write an (H, W, 3) uint8 RGB picture at a frame's time.

        One of another size than the first is scaled to fit it, with black beside.
        """
        picture = self._fitted(picture, frame)
        coded = self._from_rgb(np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), "edge"))
        coded.pts, coded.duration = frame.pts, frame.duration
        coded.time_base = self._clip.time_base
        self._container.mux(self._stream.encode(coded))

    def _fitted(self, picture: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        height, width, _ = picture.shape
        if (width, height) == self.size:
            return picture
        note = f"frames change to {width}x{height} at {frame.seconds:.2f} s; they are scaled to fit {{}}x{{}}"
        if not any(line.startswith("frames change") for line in self.notes):
            self.notes.append(note.format(*self.size))
        return np.asarray(ImageOps.pad(Image.fromarray(picture), self.size, Image.Resampling.BILINEAR))

    def finish(self) -> None:
        """Write what the encoders still hold, and the index."""
        self._container.mux(self._stream.encode(None))
        for sound in self._sounds.values():
            sound.finish()
        self._container.close()

    def abandon(self) -> None:
        """Close the file, of no more use."""
        with suppress(Exception):
            self._container.close()
