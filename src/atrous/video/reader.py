"""Reader of upright RGB frames, their times, and audio packets, also from damaged files."""

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..errors import InputError
from .colorspace import Colors, to_rgb

# Formats that are opened. FFmpeg's others include playlists, which refer to further files, and plain text.
FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mp3,wav,aac,flac"
# Formats that store the decoding order but no presentation times.
_WITHOUT_TIMES = ("avi",)
# Since version 19, PyAV accepts tags that are not UTF-8 without this argument, which it no longer has.
TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Formats with a duration in the header. FFmpeg estimates the duration of others.
_WITH_DURATIONS = ("mov", "matroska", "avi")
# Formats in which time stamps may restart, as after an interruption of a broadcast.
_WITH_NEW_CLOCKS = ("mpegts", "mpeg")
_STEP_BACK = 0.1  # seconds; decoding times of a stream go back so far only if its time stamps restart
_TRIES = 5  # consecutive read errors after which reading stops


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    image : (H, W, 3) uint8
        RGB, in display orientation.
    pts, duration : int
        Presentation time since the start of the video, and display time, in units of `VideoReader.time_base`.
    seconds : float
        `pts` in seconds.
    colors : Colors
        Color tags for its overlay.
    aspect : Fraction
        A pixel's width over its height.
    damaged : bool
        Whether the decoder concealed errors in it.
    """

    image: NDArray[np.uint8]
    pts: int
    duration: int
    seconds: float
    colors: Colors
    aspect: Fraction
    damaged: bool


class VideoReader:
    """Video opened for a single sequential read.

    Parameters
    ----------
    path : path
        A file of one of the formats in `FORMATS`.

    Attributes
    ----------
    time_base : Fraction
        Seconds in one unit of a frame's `pts`.
    rate : Fraction
        Average frames per second, from the file; 25 if it has no frame rate.
    duration : float or None
        Seconds, from the file's header.
    declared_frames : int
        From the file's header; 0 if unknown.
    audio_streams : tuple of audio streams
    origin : Fraction
        Time stamp of the start of the video, in seconds.
    frames, damaged_frames, damaged_packets : int
        Frames read so far, frames with concealed errors, and packets that could not be decoded.
    seconds : float
        Display end of the last frame read.

    Raises
    ------
    InputError
        If the file cannot be opened, is no video, or has no video stream that can be decoded.

    Examples
    --------
    >>> with VideoReader("video.mp4") as video:  # doctest: +SKIP
    ...     for frame in video:
    ...         print(frame.seconds, frame.image.shape)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._open()
        try:
            self._stream = self._picture()
        except BaseException:
            self._container.close()
            raise
        stream = self._stream
        self.time_base = Fraction(stream.time_base)
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.audio_streams = tuple(self._container.streams.audio)
        self.metadata = dict(self._container.metadata)
        self.declared_frames = stream.frames
        length = self._container.duration
        self._length = length / av.time_base if length else None
        self.duration = float(stream.duration * self.time_base) if stream.duration else self._length
        self.origin = self._beginning()
        self.frames = self.damaged_frames = self.damaged_packets = 0
        self.seconds = 0.0
        self._ends: dict[int, Fraction] = {}  # end of the last packet in seconds, by stream index
        self._gone_before = Fraction(0)  # seconds before the last restart of the time stamps
        self._reached = 0.0  # end of the last packet of any stream
        self._broken = ""
        self._reformatter = VideoReformatter()
        self._last = -1

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames without audio."""
        return (frame for _, frame in self.steps() if frame is not None)

    def steps(self) -> Iterator[tuple[list[Any], Frame | None]]:
        """Yield each frame after the packets of audio before it, in the file's order. The last one may be None.

        Packets that cannot be decoded are counted and skipped.
        """
        audio: list[Any] = []
        times: list[int] = []  # heap of the times of packets that wait for their frames
        for packet in self._packets():
            if packet.stream is not self._stream:
                if packet.stream.type == "audio":
                    audio.append(packet)
                continue
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None:
                heapq.heappush(times, time)
            try:
                decoded = packet.decode()
            except FFmpegError:
                self.damaged_packets += 1
                if time is not None:
                    times.remove(time)
                    heapq.heapify(times)
                continue
            for frame in decoded:
                yield audio, self._frame(frame, times)
                audio = []
        try:
            rest = self._stream.codec_context.decode(None)
        except FFmpegError:
            rest = []
        for frame in rest:
            yield audio, self._frame(frame, times)
            audio = []
        if audio:
            yield audio, None

    def damage(self) -> list[str]:
        """Return one line for each kind of damage. Call it after the last step."""
        lines = []
        reached = f"{self.frames} frames, {_span(self.seconds, self.duration)}, could be read"
        if self._ends_early():
            lines.append(f"cut short: {reached}; copy or record it again for the rest")
        elif self._broken:
            lines.append(f"damaged: reading broke off ({self._broken}); {reached}")
        if self.damaged_packets or self.damaged_frames:
            packets, frames = self.damaged_packets, self.damaged_frames
            lines.append(
                f"damaged: {packets} {'packet' if packets == 1 else 'packets'} could not be decoded and {frames} of "
                f"{self.frames} frames may be wrong in parts; the times of the others are kept"
            )
        return lines

    def _open(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected a video such as an .mp4")
        try:
            # Without `file:`, FFmpeg takes the part before a colon as a protocol.
            self._container = av.open(
                f"file:{self.path}",
                container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
                **TAGS,
            )
        except (FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{self.path}: cannot be opened as a video ({reason}); expected a whole MP4, MOV, MKV, WebM or AVI"
            ) from None

    def _picture(self) -> Any:
        """Return the video stream to segment."""
        still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        moving = [s for s in self._container.streams.video if not s.disposition & still]
        if not moving:
            held = " and ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            raise InputError(f"{self.path}: expected a video stream, got only {held}; is this an audio file?")
        best = self._container.streams.best("video")
        stream: Any = best if any(s is best for s in moving) else moving[0]
        if stream.codec_context is None:
            raise InputError(f"{self.path}: its video codec is not known here; convert it to H.264 first")
        return stream

    def _beginning(self) -> Fraction:
        start = Fraction(self._container.start_time or 0, av.time_base)
        own = (self._stream.start_time or 0) * self.time_base
        # Audio may start before 0 because of encoder delay. That must not shift the video stream.
        return start if start > 0 else min(own, Fraction(0))

    def _packets(self) -> Iterator[Any]:
        """Yield non-empty packets; after a read error, continue with the next readable packet."""
        tries = 0
        while True:
            try:
                for packet in self._container.demux():
                    if packet.size:
                        tries = 0
                        if self._container.format.name in _WITH_NEW_CLOCKS:
                            self._by_one_clock(packet)
                        self._note_end(packet)
                        yield packet
                return
            except FFmpegError as error:
                tries += 1
                if tries == _TRIES:
                    self._broken = error.strerror or str(error)
                    return

    def _by_one_clock(self, packet: Any) -> None:
        """Shift a packet's times so that they continue after a restart of the time stamps."""
        time = packet.pts if packet.dts is None else packet.dts
        if time is None:
            return
        base = Fraction(packet.time_base)
        begins = time * base + self._gone_before
        ends = self._ends.get(packet.stream.index, begins)
        if begins < ends - _STEP_BACK:
            ends = max(self._ends.values())  # of all streams, so that none overlaps what came before
            self._gone_before += ends - begins
            begins = ends
        self._ends[packet.stream.index] = begins + (packet.duration or 0) * base
        shift = round(self._gone_before / base)
        if shift:
            packet.dts = None if packet.dts is None else packet.dts + shift
            packet.pts = None if packet.pts is None else packet.pts + shift

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base - self.origin
            self._reached = max(self._reached, float(end))

    def _ends_early(self) -> bool:
        if self._length is None or self._container.format.name.split(",")[0] not in _WITH_DURATIONS:
            return False
        return self._length - self._reached > max(0.25, float(2 / self.rate))

    def _frame(self, decoded: av.VideoFrame, times: list[int]) -> Frame:
        sooner = heapq.heappop(times) if times else None
        pts = sooner if decoded.pts is None or self._container.format.name in _WITHOUT_TIMES else decoded.pts
        duration = decoded.duration or max(1, round(1 / (self.rate * self.time_base)))
        if pts is None:
            pts = self._last + duration if self.frames else 0
        else:
            pts -= round(self.origin / self.time_base)
        pts = max(pts, self._last + 1)
        self._last = pts
        self.frames += 1
        self.damaged_frames += decoded.is_corrupt
        self.seconds = float((pts + duration) * self.time_base)
        image, turned = _upright(to_rgb(self._reformatter, decoded), decoded.side_data.get("DISPLAYMATRIX"))
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return Frame(
            image=image,
            pts=pts,
            duration=duration,
            seconds=float(pts * self.time_base),
            colors=Colors.of(decoded),
            aspect=1 / aspect if turned else aspect,
            damaged=decoded.is_corrupt,
        )


def _upright(image: NDArray[np.uint8], side_data: Any) -> tuple[NDArray[np.uint8], bool]:
    """Rotate an (H, W, 3) image by quarter turns and mirror it, as a frame's display matrix defines.

    The matrix is a, b, u, c, d, v, x, y, w: a point (x, y) of the stored frame is shown at (a x + c y, b x + d y), y
    downward (ISO 14496-12, section 6.2.2). Other angles are rounded to quarter turns. The second result is whether rows
    became columns.
    """
    if side_data is None:
        return np.ascontiguousarray(image), False
    a, b, _, c, d, *_ = np.frombuffer(bytes(side_data), "<i4").tolist()
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    if turned:
        image = image.transpose(1, 0, 2)
    left, up = (c < 0, b < 0) if turned else (a < 0, d < 0)
    return np.ascontiguousarray(image[:: -1 if up else 1, :: -1 if left else 1]), turned


def _span(seconds: float, duration: float | None) -> str:
    return f"{seconds:.2f} s" if duration is None else f"{seconds:.2f} of {duration:.2f} s"
