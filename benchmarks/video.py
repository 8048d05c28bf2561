"""Videos: frames per second, time per stage, and memory over a long video.

    python benchmarks/video.py [--size 640x360] [--frames 60] [--long 1500] [--long-size 176x144]

The videos pan over an example image, with a tone. The model is the bundled one with its CRF.
"""

import argparse
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
from PIL import Image

import atrous
from atrous.labelmap import overlay
from atrous.video import Progress, VideoReader, segment_video
from atrous.video.writer import VideoWriter
from segment import EXAMPLE, processor

RATE = 25


def make_video(path: Path, width: int, height: int, frames: int) -> None:
    """Write a video that pans over the cat and back, every 8 seconds, with a tone."""
    image = Image.open(EXAMPLE).convert("RGB")
    window = min(image.width, round(image.height * width / height)) * 3 // 4
    box = window, round(window * height / width)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height = width, height
        sound = out.add_stream("aac", rate=44100)
        sound.codec_context.layout = "mono"
        for number in range(frames):
            share = 0.5 - 0.5 * np.cos(2 * np.pi * number / (8 * RATE))
            left, top = (round(share * (side - cut)) for side, cut in zip(image.size, box, strict=True))
            view = image.resize((width, height), box=(left, top, left + box[0], top + box[1]))
            out.mux(stream.encode(av.VideoFrame.from_image(view)))
            first = round(number * 44100 / RATE)
            tone = 3000 * np.sin(np.arange(first, first + 44100 // RATE) * 0.06)
            audio = av.AudioFrame.from_ndarray(tone[None].astype(np.int16), format="s16", layout="mono")
            audio.sample_rate, audio.pts, audio.time_base = 44100, first, Fraction(1, 44100)
            out.mux(sound.encode(audio))
        out.mux(stream.encode(None))
        out.mux(sound.encode(None))


def stages(segmenter: atrous.Segmenter, video: Path, folder: Path, frames: int) -> dict[str, float]:
    """Return the seconds per frame of each stage, run one after the other."""
    started = time.perf_counter()
    with VideoReader(video) as source:
        read = list(source)[:frames]
        decoding = (time.perf_counter() - started) / source.frames
    started = time.perf_counter()
    labels = [segmenter(frame.image).labels for frame in read]
    segmenting = (time.perf_counter() - started) / len(read)
    started = time.perf_counter()
    drawn = [
        np.asarray(overlay(frame.image, found, segmenter.classes)) for frame, found in zip(read, labels, strict=True)
    ]
    drawing = (time.perf_counter() - started) / len(read)
    started = time.perf_counter()
    with VideoReader(video) as source:
        writer = VideoWriter(folder / "encoded.mp4", source, read[0])
        for image, frame in zip(drawn, read, strict=True):
            writer.add(image, frame)
        writer.finish()
    encoding = (time.perf_counter() - started) / len(read)
    return {
        "decoding, to RGB": decoding,
        "network, upsampling, CRF": segmenting,
        "drawing": drawing,
        "encoding": encoding,
    }


class Memory:
    """Memory of this process, sampled while a video runs: its mean over tenths of the video, and its peak."""

    def __init__(self, frames: int) -> None:
        self._process = psutil.Process()
        self._frames = frames
        self._tenths: list[list[int]] = [[] for _ in range(10)]
        self.peak = 0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __enter__(self) -> "Memory":
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._sampler.join()

    def note(self, progress: Progress) -> None:
        """Take a sample after a frame."""
        self._tenths[min(9, 10 * (progress.frames - 1) // self._frames)].append(self._process.memory_info().rss)

    def megabytes(self) -> list[float]:
        """Return the mean of each tenth, in MB."""
        return [sum(tenth) / len(tenth) / 1e6 for tenth in self._tenths if tenth]


def size(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT."""
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=size, default=(640, 360))
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--long", type=int, default=1500)
    parser.add_argument("--long-size", type=size, default=(176, 144))
    arguments = parser.parse_args()
    segmenter = atrous.Segmenter()
    print(processor())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = folder / "video.mp4"
        if arguments.frames:
            make_video(video, *arguments.size, arguments.frames)
            segmenter(np.zeros((*arguments.size[::-1], 3), np.uint8))  # warm-up
            parts = stages(segmenter, video, folder, min(20, arguments.frames))
            report = segment_video(segmenter, video, folder, labels=True)
            each = report.took / report.frames
            print(f"\n{arguments.frames} frames of {'x'.join(map(str, arguments.size))}, milliseconds per frame")
            for part, seconds in parts.items():
                print(f"  {part:<28}{1000 * seconds:>8.1f}")
            print(f"  {'one after the other':<28}{1000 * sum(parts.values()):>8.1f}")
            print(f"  {'segment_video, with labels':<28}{1000 * each:>8.1f}, {1 / each:.2f} frames/s")
        if arguments.long:
            make_video(video, *arguments.long_size, arguments.long)
            with Memory(arguments.long) as memory:
                report = segment_video(segmenter, video, folder, labels=True, overwrite=True, progress=memory.note)
            print(
                f"\n{report.frames} frames of {'x'.join(map(str, arguments.long_size))}, "
                f"{report.frames / report.took:.1f} frames/s; memory in MB, mean of each tenth of the video, and peak"
            )
            print("  " + " ".join(f"{value:.0f}" for value in memory.megabytes()) + f"; {memory.peak / 1e6:.0f}")


if __name__ == "__main__":
    main()
