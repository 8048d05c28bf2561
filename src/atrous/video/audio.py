"""Audio tracks of an overlaid video, copied or transcoded to AAC."""

from fractions import Fraction
from typing import Any

from av.codec import Codec
from av.error import FFmpegError

# Codecs that players expect in an MP4 file. Others are transcoded to AAC.
COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
ENCODER = "aac"
_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


def codec_name(stream: Any) -> str:
    """Return the codec of an audio stream, "unknown" where there is no decoder for it."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name


class CopiedAudio:
    """Audio track that copies packets.

    Parameters
    ----------
    output : OutputContainer
    stream : the video's AudioStream
    origin : Fraction
        Start of the video in seconds, which is subtracted from the packets' times.
    """

    def __init__(self, output: Any, stream: Any, origin: Fraction) -> None:
        self._output = output
        self.target = output.add_stream_from_template(stream)
        self._origin = round(origin / stream.time_base)
        self._last: int | None = None

    def add(self, packet: Any) -> None:
        """Write a packet; skip it if it has no time or is out of order, because MP4 cannot store it."""
        decoding = packet.pts if packet.dts is None else packet.dts
        if decoding is None or (self._last is not None and decoding <= self._last):
            return
        self._last = decoding
        packet.dts = decoding - self._origin
        packet.pts = packet.dts if packet.pts is None else packet.pts - self._origin
        packet.stream = self.target
        self._output.mux(packet)

    def finish(self) -> None:
        """Do nothing: no packet is buffered."""


class EncodedAudio:
    """Audio track that transcodes packets to AAC. Same arguments as `CopiedAudio`."""

    def __init__(self, output: Any, stream: Any, origin: Fraction) -> None:
        self._output = output
        self.target = output.add_stream(ENCODER, rate=_rate(stream.codec_context.sample_rate))
        self.target.codec_context.layout = _layout(stream.codec_context)
        self._origin = round(origin / stream.time_base)

    def add(self, packet: Any) -> None:
        """Transcode a packet; one that cannot be decoded becomes silence."""
        try:
            frames = packet.decode()
        except FFmpegError:
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= self._origin
            self._output.mux(self.target.encode(frame))

    def finish(self) -> None:
        """Flush the encoder."""
        self._output.mux(self.target.encode(None))


def _rate(wanted: int) -> int:
    """Return the sample rate of the encoder that is nearest to `wanted`."""
    known = Codec(ENCODER, "w").audio_rates or [wanted]
    return min(known, key=lambda rate: (abs(rate - wanted), -rate))


def _layout(context: Any) -> str:
    """Return the channel layout. A WAVE header may give only the number of channels, which the encoder rejects."""
    named = str(context.layout.name)
    return _USUAL.get(context.layout.nb_channels, named) if "channels" in named else named


def open_audio_tracks(output: Any, streams: tuple[Any, ...], origin: Fraction, *, copy: bool) -> dict[int, Any]:
    """Add a track for each audio stream that can be decoded. Return the tracks by stream index."""
    tracks = {}
    for stream in streams:
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            continue
        kind = CopiedAudio if copy and codec_name(stream) in COPIED else EncodedAudio
        track = kind(output, stream, origin)
        if stream.language:
            track.target.metadata["language"] = stream.language
        tracks[stream.index] = track
    return tracks
