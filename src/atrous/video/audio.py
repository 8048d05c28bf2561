"""Audio tracks of an overlaid video, copied or transcoded to AAC."""

from fractions import Fraction
from typing import Any

from av.codec import Codec
from av.error import FFmpegError

# Codecs that players expect in an MP4 file. Others are transcoded to AAC.
COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
ENCODER = "aac"
# A WAVE header may give only the number of channels, which the encoder rejects.
_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


def codec_name(stream: Any) -> str:
    """Return the codec of an audio stream, "unknown" where there is no decoder for it."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name


class AudioTrack:
    """Audio track that copies the packets of a stream, or transcodes them to AAC.

    Parameters
    ----------
    output : OutputContainer
    stream : the video's AudioStream
    origin : Fraction
        Start of the video in seconds, which is subtracted from the packets' times.
    copy : bool
        Whether to copy the packets.
    """

    def __init__(self, output: Any, stream: Any, origin: Fraction, *, copy: bool) -> None:
        self._output, self._copied = output, copy
        if copy:
            self._target = output.add_stream_from_template(stream)
        else:
            context = stream.codec_context
            rates = Codec(ENCODER, "w").audio_rates or [context.sample_rate]
            nearest = min(rates, key=lambda rate: (abs(rate - context.sample_rate), -rate))
            self._target = output.add_stream(ENCODER, rate=nearest)
            named = str(context.layout.name)
            layout = _USUAL.get(context.layout.nb_channels, named) if "channels" in named else named
            self._target.codec_context.layout = layout
        if stream.language:
            self._target.metadata["language"] = stream.language
        self._origin = round(origin / stream.time_base)
        self._last: int | None = None

    def add(self, packet: Any) -> None:
        """Write a packet.

        A packet to copy is skipped if it has no time or is out of order, because MP4 cannot store it. One to transcode
        that cannot be decoded becomes silence.
        """
        if self._copied:
            decoding = packet.pts if packet.dts is None else packet.dts
            if decoding is None or (self._last is not None and decoding <= self._last):
                return
            self._last = decoding
            packet.dts = decoding - self._origin
            packet.pts = packet.dts if packet.pts is None else packet.pts - self._origin
            packet.stream = self._target
            self._output.mux(packet)
            return
        try:
            frames = packet.decode()
        except FFmpegError:
            return
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= self._origin
            self._output.mux(self._target.encode(frame))

    def finish(self) -> None:
        """Flush the encoder."""
        if not self._copied:
            self._output.mux(self._target.encode(None))


def open_audio_tracks(output: Any, streams: tuple[Any, ...], origin: Fraction, *, copy: bool) -> dict[int, AudioTrack]:
    """Add a track for each audio stream that can be decoded. Return the tracks by stream index."""
    return {
        stream.index: AudioTrack(output, stream, origin, copy=copy and codec_name(stream) in COPIED)
        for stream in streams
        if stream.codec_context is not None and stream.codec_context.sample_rate
    }
