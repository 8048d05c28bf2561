"""Reading a clip: upright RGB frames with their times, and its sound, whatever of the file can be read."""

import heapq
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from ..errors import InputError
from .colorspace import Colors, ToRgb
from .rotation import IDENTITY, is_transposed, upright

# Kinds of files that are opened. Others that FFmpeg knows are playlists, which lead to other files, or read any text.
FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mp3,wav,aac,flac"
# Formats that keep the order of decoding but not when a frame is shown.
_WITHOUT_TIMES = ("avi",)
# PyAV takes tags that are not UTF-8 as they are since 19, where it no longer has the argument.
TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Formats whose header says how long the clip is; of others FFmpeg guesses.
_WITH_DURATIONS = ("mov", "matroska", "avi")
# Formats in which the clock may start again, as after a break of a broadcast.
_WITH_NEW_CLOCKS = ("mpegts", "mpeg")
_STEP_BACK = 0.1  # seconds between packets of a stream in the order of decoding: only a new clock goes so far back
_TRIES = 5  # at reading on after an error, without a packet in between


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes
    ----------
    image : (H, W, 3) uint8
        RGB, upright.
    pts, duration : int
        When it is shown, from the clip's beginning, and for how long, in `Clip.time_base`.
    seconds : float
        The same as `pts`.
    colors : Colors
        How an overlay of it is coded.
    aspect : Fraction
        A pixel's width over its height.
    damaged : bool
        Whether the decoder had to guess parts of it.
    """

    image: NDArray[np.uint8]
    pts: int
    duration: int
    seconds: float
    colors: Colors
    aspect: Fraction
    damaged: bool


@dataclass(frozen=True)
class Step:
    """What comes next in the file: packets of sound, then a frame. After the last frame there may be sound alone."""

    sound: list[Any] = field(default_factory=list)
    frame: Frame | None = None


class Clip:
    """A clip opened for reading, once, from its beginning.

    Parameters
    ----------
    path : path
        A file of one of the formats in `FORMATS`.

    Attributes
    ----------
    time_base : Fraction
        Seconds in one unit of a frame's `pts`.
    rate : Fraction
        Frames a second on average, as the file says; 25 if it does not.
    duration : float or None
        Seconds, as the file says.
    declared_frames : int
        0 if the file does not say.
    sounds : tuple of audio streams
    origin : Fraction
        Time stamp, in seconds, of the clip's beginning.
    frames, damaged_frames, damaged_packets : int
        What was read so far; of the frames, those that the decoder had to guess parts of; and the packets that it
        could make nothing of.
    seconds : float
        Where reading is: the end of what has been read.

    Raises
    ------
    InputError
        If the file cannot be opened, is no clip, or holds no moving picture that can be decoded.

    Examples
    --------
    >>> with Clip("clip.mp4") as clip:  # doctest: +SKIP
    ...     for frame in clip:
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
        self.sounds = tuple(self._container.streams.audio)
        self.metadata = dict(self._container.metadata)
        self.declared_frames = stream.frames
        length = self._container.duration
        self._length = length / av.time_base if length else None
        self.duration = float(stream.duration * self.time_base) if stream.duration else self._length
        self.origin = self._beginning()
        self.frames = self.damaged_frames = self.damaged_packets = 0
        self.seconds = 0.0
        self._ends: dict[int, Fraction] = {}  # by stream, in seconds: where its last packet ends
        self._gone_before = Fraction(0)  # seconds, by earlier clocks
        self._reached = 0.0  # end of the last packet of any stream
        self._broken = ""
        self._to_rgb = ToRgb()
        self._last = -1

    def __enter__(self) -> "Clip":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames alone."""
        for step in self.steps():
            if step.frame is not None:
                yield step.frame

    def steps(self) -> Generator[Step, None, None]:
        """Yield frames and the packets of sound before each, in the file's order.

        Damaged packets are counted and passed over.
        """
        sound: list[Any] = []
        times: list[int] = []  # of packets whose frames are still to come, a heap
        for packet in self._packets():
            if packet.stream is not self._stream:
                if packet.stream.type == "audio":
                    sound.append(packet)
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
                yield Step(sound, self._frame(frame, times))
                sound = []
        try:
            rest = self._stream.codec_context.decode(None)
        except FFmpegError:
            rest = []
        for frame in rest:
            yield Step(sound, self._frame(frame, times))
            sound = []
        if sound:
            yield Step(sound)

    def damage(self) -> list[str]:
        """Say what of the file could not be read, a line each; to be asked when all steps are done."""
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
            raise InputError(f"{self.path}: no such file; expected a clip such as an .mp4")
        try:
            # Named as a file, or the part before a colon would be taken for a protocol.
            self._container = av.open(
                f"file:{self.path}",
                container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
                **TAGS,
            )
        except (FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{self.path}: cannot be opened as a clip ({reason}); expected a whole MP4, MOV, MKV, WebM or AVI"
            ) from None

    def _picture(self) -> Any:
        """Return the video stream to segment."""
        still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        moving = [s for s in self._container.streams.video if not s.disposition & still]
        if not moving:
            held = " and ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            raise InputError(f"{self.path}: no moving picture in it, only {held}; expected a clip with video")
        best = self._container.streams.best("video")
        stream: Any = best if any(s is best for s in moving) else moving[0]
        if stream.codec_context is None:
            raise InputError(f"{self.path}: its video codec is not known here; convert it to H.264 first")
        return stream

    def _beginning(self) -> Fraction:
        start = Fraction(self._container.start_time or 0, av.time_base)
        own = (self._stream.start_time or 0) * self.time_base
        # Sound may begin before 0, where its encoder warms up; that is no reason to shift the picture.
        return start if start > 0 else min(own, Fraction(0))

    def _packets(self) -> Iterator[Any]:
        """Yield packets with something in them; after an error, read on from where the file can be read again."""
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
        """Let a packet's times go on where an earlier clock has ended."""
        time = packet.pts if packet.dts is None else packet.dts
        if time is None:
            return
        base = Fraction(packet.time_base)
        begins = time * base + self._gone_before
        ends = self._ends.get(packet.stream.index, begins)
        if begins < ends - _STEP_BACK:
            ends = max(self._ends.values())  # of picture and sound, so that neither falls into what came before
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
        matrix = _display_matrix(decoded)
        image = self._to_rgb(decoded)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return Frame(
            image=upright(image, matrix),
            pts=pts,
            duration=duration,
            seconds=float(pts * self.time_base),
            colors=Colors.of(decoded),
            aspect=1 / aspect if is_transposed(matrix) else aspect,
            damaged=decoded.is_corrupt,
        )


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...]:
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return IDENTITY
    return tuple(np.frombuffer(bytes(side_data), "<i4").tolist())


def _span(seconds: float, duration: float | None) -> str:
    return f"{seconds:.2f} s" if duration is None else f"{seconds:.2f} of {duration:.2f} s"
