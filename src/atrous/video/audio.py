"""The sound of a clip on its way into the overlaid one: copied, or encoded anew."""

from fractions import Fraction
from typing import Any

from av.codec import Codec
from av.error import FFmpegError

# Codecs that players expect in an MP4 file; the others become AAC.
COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
ENCODER = "aac"
_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


def codec_name(stream: Any) -> str:
    """Return the codec of an audio stream, "unknown" where there is no decoder for it."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name


class CopiedSound:
    """Packets handed on as they are.

    Parameters
    ----------
    output : OutputContainer
    stream : the clip's AudioStream
    origin : Fraction
        Seconds to take from its times.
    """

    def __init__(self, output: Any, stream: Any, origin: Fraction) -> None:
        self._output = output
        self.target = output.add_stream_from_template(stream)
        self._origin = round(origin / stream.time_base)
        self._last: int | None = None

    def add(self, packet: Any) -> None:
        """Write one packet; one without a time, or out of order, is left out, as no MP4 file can hold it."""
        decoding = packet.pts if packet.dts is None else packet.dts
        if decoding is None or (self._last is not None and decoding <= self._last):
            return
        self._last = decoding
        packet.dts = decoding - self._origin
        packet.pts = packet.dts if packet.pts is None else packet.pts - self._origin
        packet.stream = self.target
        self._output.mux(packet)

    def finish(self) -> None:
        """Write what is left: nothing."""


class EncodedSound:
    """Packets decoded and encoded as AAC; arguments as of `CopiedSound`."""

    def __init__(self, output: Any, stream: Any, origin: Fraction) -> None:
        self._output = output
        self.target = output.add_stream(ENCODER, rate=_rate(stream.codec_context.sample_rate))
        self.target.codec_context.layout = _layout(stream.codec_context)
        self._origin = round(origin / stream.time_base)

    def add(self, packet: Any) -> None:
        """Encode one packet; one that cannot be decoded is silence."""
        try:
            frames = packet.decode()
        except FFmpegError:
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= self._origin
            self._output.mux(self.target.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._output.mux(self.target.encode(None))


def _rate(wanted: int) -> int:
    """Return the sample rate nearest to one that the encoder may not know."""
    known = Codec(ENCODER, "w").audio_rates or [wanted]
    return min(known, key=lambda rate: (abs(rate - wanted), -rate))


def _layout(context: Any) -> str:
    """Return the channels' places; a WAVE header may only count them, which the encoder does not take."""
    named = str(context.layout.name)
    return _USUAL.get(context.layout.nb_channels, named) if "channels" in named else named


def open_sounds(output: Any, streams: tuple[Any, ...], origin: Fraction, *, copy: bool) -> dict[int, Any]:
    """Add a track for each audio stream that can be handled; by the streams' numbers."""
    tracks = {}
    for stream in streams:
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            continue
        kind = CopiedSound if copy and codec_name(stream) in COPIED else EncodedSound
        track = kind(output, stream, origin)
        if stream.language:
            track.target.metadata["language"] = stream.language
        tracks[stream.index] = track
    return tracks
