"""Tiny videos, written here: a red square on gray that moves to the right."""

from fractions import Fraction

import av
import numpy as np

RED = (230, 20, 20)
RED_LABEL = 1


def picture(step, width=64, height=48):
    """The square is as high as half the picture, and at its top; so a picture has one way up."""
    image = np.full((height, width, 3), 128, np.uint8)
    left = 8 + 2 * step
    image[: height // 2, left : left + 24] = RED
    return image


def write_video(
    path,
    *,
    frames=8,
    width=64,
    height=48,
    rate=10,
    pts=None,
    time_base=None,
    codec="libx264",
    pix_fmt="yuv420p",
    form=None,
    matrix=None,
    audio=None,
    sound_seconds=None,
    aspect=None,
    tags=None,
    options=None,
):
    """Write a video and return the pictures it shows.

    `pts` are time stamps in `time_base`; `audio` is an audio codec; `tags` are color matrix, transfer, primaries
    and range.
    """
    pictures = [picture(step, width, height) for step in range(frames)]
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate, options={"crf": "12", "g": "4"} if options is None else options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        if time_base is not None:
            context.time_base = time_base
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if tags is not None:
            context.colorspace, context.color_trc, context.color_primaries, context.color_range = tags
        track = None
        if audio is not None:
            track = out.add_stream(audio, rate=48000 if audio == "libopus" else 16000)
            track.codec_context.layout = "mono"
            length = int(track.codec_context.sample_rate * (sound_seconds or frames / rate))
            tone = 8000 * np.sin(np.arange(length) * 0.2)
            for first in range(0, length, 1024):
                samples = tone[None, first : first + 1024].astype(np.int16)
                audio = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                audio.sample_rate, audio.pts = track.codec_context.sample_rate, first
                audio.time_base = Fraction(1, audio.sample_rate)
                out.mux(track.encode(audio))
        for step, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image)
            if tags is not None:
                matrix_number = {6: 5}.get(tags[0], tags[0])
                frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix_number, dst_color_range=tags[3])
                frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = tags
            frame.pts = step if pts is None else pts[step]
            frame.time_base = time_base or Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if track is not None:
            out.mux(track.encode(None))
    return pictures


def read_video(path):
    """Return the frames, decoded, of a video's first video stream, and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.pts * frame.time_base for frame in frames]


def sound_packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def boxes(data):
    """The places of an MP4 file's outermost boxes: name -> (begin, end)."""
    found, place = {}, 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found[data[place + 4 : place + 8].decode()] = (place, place + length)
        place += length
    return found
