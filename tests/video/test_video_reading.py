import time
from fractions import Fraction

import av
import numpy as np
import pytest
from video_files import boxes, picture, write_video

from atrous.errors import InputError
from atrous.video import VideoReader


def read(path):
    with VideoReader(path) as video:
        frames = list(video)
        return video, frames


def near(image, expected, tolerance=30):
    """Whether two pictures agree but at edges, which coding at half the color resolution blurs."""
    worst = np.abs(image.astype(int) - expected).max(axis=2)
    return image.shape == expected.shape and np.mean(worst <= tolerance) > 0.9


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("h264.mp4", {}),
        ("b-frames.avi", {"options": {"bf": "2"}}),
        ("plain.avi", {"codec": "mpeg4", "options": {}}),
        ("h264.mkv", {}),
        ("h264.mov", {}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("stream.mp4", {"form": "mpegts"}),  # the content counts, not the name
        ("odd.mkv", {"width": 63, "height": 47, "pix_fmt": "yuv444p"}),
        ("deep.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
    ],
)
def test_formats(tmp_path, name, arguments):
    expected = write_video(tmp_path / name, **arguments)
    video, frames = read(tmp_path / name)
    late = 1 if name == "b-frames.avi" else 0  # AVI keeps the order of decoding, which begins a frame earlier
    assert [round(10 * frame.seconds, 2) for frame in frames] == [late + step for step in range(8)]
    assert all(near(frame.image, image) for frame, image in zip(frames, expected, strict=True))
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)
    assert video.damage() == []
    assert video.seconds == pytest.approx(0.8 + late / 10)


def test_variable_frame_rate(tmp_path):
    pts = [0, 7, 8, 30, 31, 32, 90, 200]
    write_video(tmp_path / "vfr.mp4", pts=pts, time_base=Fraction(1, 600))
    _, frames = read(tmp_path / "vfr.mp4")
    assert [round(600 * frame.seconds) for frame in frames] == pts


def test_a_broadcast_whose_clock_starts_again_goes_on(tmp_path):
    write_video(tmp_path / "one.ts", form="mpegts", audio="aac")
    (tmp_path / "two.ts").write_bytes(2 * (tmp_path / "one.ts").read_bytes())
    with VideoReader(tmp_path / "two.ts") as video:
        steps = list(video.steps())
    times = [frame.seconds for _, frame in steps if frame]
    gaps = np.diff(times)
    assert len(times) == 16
    assert np.delete(gaps, 7) == pytest.approx(0.1, abs=0.001)
    assert 0.05 < gaps[7] < 0.4
    audio = [float(packet.dts * packet.time_base) for audio, _ in steps for packet in audio]
    assert np.diff(audio).min() > 0
    assert video.seconds == pytest.approx(1.6, abs=0.4)


def test_a_clip_that_begins_late_begins_at_0(tmp_path):
    write_video(tmp_path / "late.mkv", pts=range(500, 508), time_base=Fraction(1, 10))
    video, frames = read(tmp_path / "late.mkv")
    assert video.origin == 50
    assert [round(10 * frame.seconds) for frame in frames] == list(range(8))


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((ONE, 0, 0, ONE), lambda image: image),
        ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),  # as phones held upright write it
        ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
        ((0, -ONE, ONE, 0), lambda image: np.rot90(image)),
        ((-ONE, 0, 0, ONE), lambda image: image[:, ::-1]),
        ((ONE, 0, 0, -ONE), lambda image: image[::-1]),
        ((0, ONE, ONE, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -ONE, -ONE, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_frames_are_upright(tmp_path, matrix, turned):
    a, b, c, d = matrix
    path = tmp_path / "turned.mp4"
    write_video(path, frames=1, matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30), aspect=Fraction(4, 3))
    (frame,) = read(path)[1]
    assert near(frame.image, turned(picture(0)))
    assert frame.aspect == (Fraction(4, 3) if a else Fraction(3, 4))


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 1), (9, 14, 9, 1), (1, 1, 1, 2)])
def test_colors_follow_matrix_and_range(tmp_path, tags):
    write_video(tmp_path / "tagged.mp4", frames=1, tags=tags)
    (frame,) = read(tmp_path / "tagged.mp4")[1]
    assert near(frame.image, picture(0), 6)


@pytest.mark.slow  # swscale takes 5 s to work the table of colors out
def test_high_dynamic_range_becomes_standard(tmp_path):
    write_video(tmp_path / "hlg.mp4", frames=1, pix_fmt="yuv420p10le", tags=(9, 18, 9, 1))
    (frame,) = read(tmp_path / "hlg.mp4")[1]
    assert (frame.colors.matrix, frame.colors.transfer, frame.colors.primaries) == (1, 1, 1)
    # A gray of half the HLG signal is brighter than half in BT.709.
    assert 135 < frame.image[40, 40, 0] < 190


def write_audio(path, **arguments):
    with av.open(str(path), "w", **arguments) as out:
        stream = out.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp")
        silence.sample_rate = 16000
        out.mux(stream.encode(silence))
        out.mux(stream.encode(None))


def test_files_that_are_no_clips(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("#EXTM3U\nhttp://localhost/video.mp4\n" * 40)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile video.mkv\n")
    (tmp_path / "zeros.mkv").write_bytes(bytes(5000))
    write_video(tmp_path / "video.mkv")
    write_audio(tmp_path / "audio.mp4")
    expected = {
        "missing.mp4": "no such file",
        "empty.mp4": "a whole MP4",
        "text.mp4": "a whole MP4",
        "list.mp4": "a whole MP4",
        "zeros.mkv": "a whole MP4",
        "audio.mp4": "only audio",
    }
    for name, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            VideoReader(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_name_with_a_colon_is_a_file(tmp_path):
    write_video(tmp_path / "http:video.mp4", frames=1)
    assert len(read(tmp_path / "http:video.mp4")[1]) == 1


def test_cut_in_the_middle(tmp_path):
    path = tmp_path / "cut.mp4"
    write_video(path, frames=16, options={"g": "1"})
    # The index comes first, as in a file made for the web.
    with av.open(str(path)) as whole, av.open(str(tmp_path / "web.mp4"), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "web.mp4").read_bytes()
    begin, end = boxes(data)["mdat"]
    path.write_bytes(data[: begin + (end - begin) // 2])
    video, frames = read(path)
    assert 2 <= len(frames) < 16
    line = video.damage()[0]
    assert line.startswith("cut short")
    assert f"{len(frames)} frames, {len(frames) / 10:.2f} of 1.60 s" in line


def test_cut_before_the_index(tmp_path):
    path = tmp_path / "cut.mp4"
    write_video(path)
    data = path.read_bytes()
    path.write_bytes(data[: boxes(data)["moov"][0]])
    with pytest.raises(InputError, match="a whole MP4"):
        VideoReader(path)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.avi", "cut.webm"])
def test_other_formats_cut_short(tmp_path, name):
    path = tmp_path / name
    write_video(path, frames=16, codec="libvpx" if name == "cut.webm" else "libx264", options={"g": "1"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    video, frames = read(path)
    assert 2 <= len(frames) < 16
    assert video.damage()[0].startswith("cut short: ")


def test_damaged_packets_are_passed_over(tmp_path):
    path = tmp_path / "damaged.mp4"
    write_video(path, frames=12)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as whole:
        packets = [(packet.pos, packet.size) for packet in whole.demux(video=0) if packet.size]
    for place, size in packets[4:6]:
        data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    video, frames = read(path)
    assert 8 <= len(frames) < 12
    assert video.damaged_packets == 2
    (line,) = video.damage()
    assert line.startswith("damaged: 2 packets could not be decoded")
    # What comes after keeps its time, and is right again from the next key frame on.
    times = [round(10 * frame.seconds) for frame in frames]
    assert times[-1] == 11
    assert near(frames[-1].image, picture(11))


def test_closing_early_frees_the_file(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path)
    begun = time.perf_counter()
    with VideoReader(path) as video:
        next(iter(video))
    path.unlink()
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize("seed", range(12))
def test_whatever_bytes_are_wrong_reading_ends(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path / ("video.mp4", "video.mkv", "video.avi", "video.ts")[seed % 4]
    write_video(path, audio="aac")
    data = bytearray(path.read_bytes())
    for place in rng.integers(0, len(data), 20):
        data[place] = rng.integers(256)
    path.write_bytes(data[: rng.integers(len(data) // 2, len(data))])
    try:
        video, frames = read(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert video.frames == len(frames)
        times = [frame.pts for frame in frames]
        assert times == sorted(set(times))
