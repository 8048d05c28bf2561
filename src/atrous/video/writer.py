"""Writer of overlaid videos: H.264 in MP4, with the times and audio of the source."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import InputError
from .audio import COPIED, codec_name, open_audio_tracks
from .colorspace import from_rgb
from .outputs import comment
from .reader import Frame, VideoReader

ENCODER, _OPTIONS = "libx264", {"preset": "veryfast", "crf": "20"}
# Metadata that describe the file's own format.
_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "comment"})


class VideoWriter:
    """Writer of one overlaid video.

    Parameters
    ----------
    path : path
        Output file, MP4 regardless of its suffix.
    video : VideoReader
        Source of times and audio.
    first : Frame
        First frame. It sets the size; odd sides grow by one pixel.
    key : str, optional
        For `stored_key`.

    Attributes
    ----------
    notes : list of str
        Differences from the source.
    """

    def __init__(self, path: Path, video: VideoReader, first: Frame, key: str | None = None) -> None:
        self.notes: list[str] = []
        self._comment = comment(key)
        height, width, _ = first.image.shape
        self.size = width, height
        self._video = video
        self._colors, self._reformatter = first.colors, VideoReformatter()
        self._open(path, first)

    def _open(self, path: Path, first: Frame) -> None:
        """Open the output and copy the audio; if MP4 cannot store it, transcode it; if that fails, drop it."""
        audio_streams = self._video.audio_streams
        for attempt in ("copy", "encode", "leave out") if audio_streams else ("leave out",):
            self._container = av.open(f"file:{path}", "w", format="mp4", container_options={"movflags": "+faststart"})
            try:
                self._stream = self._add_video_stream(first)
                self._audio_tracks = {}
                if attempt != "leave out":
                    self._audio_tracks = open_audio_tracks(
                        self._container, audio_streams, self._video.origin, copy=attempt == "copy"
                    )
                about = {key: text for key, text in self._video.metadata.items() if key.lower() not in _OWN_KEYS}
                self._container.metadata.update(about | {"comment": self._comment})
                self._container.start_encoding()
            except (FFmpegError, ValueError) as error:
                if attempt == "leave out":
                    raise self._cannot(error) from None
                self._container.close()
                continue
            self._note_audio(audio_streams, copied=attempt == "copy")
            return

    def _cannot(self, error: Exception) -> Exception:
        if isinstance(error, OSError):  # a disk error
            return error
        width, height = self.size
        reason = getattr(error, "strerror", None) or str(error)
        return InputError(
            f"{self._video.path}: frames of {width}x{height} cannot be encoded ({reason}); scale the video down, H.264"
            " goes to 16384 pixels a side"
        )

    def _add_video_stream(self, first: Frame) -> Any:
        if ENCODER not in av.codecs_available:
            raise InputError(f"PyAV's FFmpeg: expected the encoder {ENCODER}, found none; pip install av brings it")
        width, height = (side + side % 2 for side in self.size)
        stream: Any = self._container.add_stream(ENCODER, rate=self._video.rate, options=dict(_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._video.time_base
        context.sample_aspect_ratio = first.aspect
        context.flags |= Flags.frame_duration
        self._colors.mark(context)
        return stream

    def _note_audio(self, streams: Sequence[Any], *, copied: bool) -> None:
        for number, stream in enumerate(streams, 1):
            name = f"audio track {number} ({codec_name(stream)})"
            if stream.index not in self._audio_tracks:
                self.notes.append(f"{name} is dropped: it cannot be decoded, or cannot be stored as MP4")
            elif not copied or codec_name(stream) not in COPIED:
                self.notes.append(f"{name} is transcoded to AAC")

    def add_audio(self, packets: Sequence[Any]) -> None:
        """Write audio packets of the source."""
        for packet in packets:
            if packet.stream.index in self._audio_tracks:
                self._audio_tracks[packet.stream.index].add(packet)

    def add(self, image: NDArray[np.uint8], frame: Frame) -> None:
        """Write an (H, W, 3) uint8 RGB image at a frame's time.

        An image of another size than the first frame is scaled to fit and padded with black.
        """
        image = self._fitted(image, frame)
        even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge")
        coded = from_rgb(self._reformatter, even, self._colors)
        coded.pts, coded.duration = frame.pts, frame.duration
        coded.time_base = self._video.time_base
        self._container.mux(self._stream.encode(coded))

    def _fitted(self, image: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        height, width, _ = image.shape
        if (width, height) == self.size:
            return image
        if not any(line.startswith("frames change") for line in self.notes):
            now, fit = f"{width}x{height} at {frame.seconds:.2f} s", "{}x{}".format(*self.size)
            self.notes.append(f"frames change to {now}; they are scaled to fit {fit}")
        return np.asarray(ImageOps.pad(Image.fromarray(image), self.size, Image.Resampling.BILINEAR))

    def finish(self) -> None:
        """Flush the encoders and write the index."""
        self._container.mux(self._stream.encode(None))
        for audio in self._audio_tracks.values():
            audio.finish()
        self._container.close()

    def abandon(self) -> None:
        """Close an incomplete file."""
        with suppress(Exception):
            self._container.close()
