import csv
import errno
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from video_files import RED, RED_LABEL, picture, read_video, sound_packets, write_video

from atrous.errors import InputError
from atrous.labelmap import read_labels
from atrous.segmenter import Segmenter
from atrous.video import segment_video
from atrous.video import writer as writing
from atrous.video.writer import VideoWriter


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_clip_keeps_its_times_and_sound_and_gets_its_overlay(segmenter, tmp_path):
    pictures = write_video(tmp_path / "video.mp4", audio="aac")
    seen = []
    report = segment_video(segmenter, tmp_path / "video.mp4", tmp_path / "out", labels=True, progress=seen.append)
    frames, times = read_video(tmp_path / "out/video.overlay.mp4")
    assert times == read_video(tmp_path / "video.mp4")[1]
    assert sound_packets(report.overlay) == sound_packets(tmp_path / "video.mp4")
    with av.open(str(report.overlay)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.width, stream.height) == ("h264", 10, 64, 48)
        assert container.metadata["comment"] == "atrous"
        assert container.duration == 800_000

    for frame, image in zip(frames, pictures, strict=True):
        inside = (image == RED).all(axis=2)
        # Gray is dimmed; a region is tinted, which takes some of its red.
        assert np.abs(frame[40:, :].astype(int) - 0.7 * 128).max() < 20
        assert np.abs(frame[inside].astype(int) - RED).mean() > 5

    assert (report.frames, report.seconds, report.notes, report.damage) == (8, pytest.approx(0.8), (), ())
    assert list(report.shares) == ["background", "red"]
    assert [progress.frames for progress in seen] == list(range(1, 9))
    assert (seen[-1].seconds, seen[-1].duration) == (pytest.approx(0.8), pytest.approx(0.8))

    assert names(tmp_path / "out/video") == [*(f"{n:06}.png" for n in range(1, 9)), "times.csv"]
    for number, image in enumerate(pictures, 1):
        labels = read_labels(report.labels / f"{number:06}.png")
        assert labels.shape == (48, 64)
        assert np.mean((labels == RED_LABEL) == (image == RED).all(axis=2)) > 0.85
    with (report.labels / "times.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], float(row["seconds"])) for row in rows] == [
        (f"{n + 1:06}.png", pytest.approx(n / 10)) for n in range(8)
    ]


def test_label_frames_are_what_the_segmenter_says(segmenter, tmp_path):
    write_video(tmp_path / "video.mp4", frames=2)
    report = segment_video(segmenter, tmp_path / "video.mp4", tmp_path, labels=True)
    frames, _ = read_video(tmp_path / "video.mp4")
    assert np.array_equal(read_labels(report.labels / "000002.png"), segmenter(frames[1]).labels)


def test_variable_frame_rate_is_kept(segmenter, tmp_path):
    write_video(tmp_path / "vfr.mkv", pts=[0, 7, 8, 30, 31, 32, 90, 200], time_base=Fraction(1, 1000), audio="libopus")
    segment_video(segmenter, tmp_path / "vfr.mkv", tmp_path)
    assert read_video(tmp_path / "vfr.overlay.mp4")[1] == read_video(tmp_path / "vfr.mkv")[1]
    assert sound_packets(tmp_path / "vfr.overlay.mp4") == sound_packets(tmp_path / "vfr.mkv")


def test_sound_stays_with_the_picture_where_both_begin_late(segmenter, tmp_path):
    path = tmp_path / "late.ts"
    write_video(path, audio="aac", form="mpegts")
    segment_video(segmenter, path, tmp_path)

    def beginnings(path):
        with av.open(str(path)) as container:
            first = {}
            for packet in container.demux(video=0, audio=0):
                if packet.size:
                    time = float(packet.pts * packet.time_base)
                    first[packet.stream.type] = min(time, first.get(packet.stream.type, time))
        return first

    before, after = beginnings(path), beginnings(tmp_path / "late.overlay.mp4")
    assert before["video"] > 0.1
    assert after["video"] - after["audio"] == pytest.approx(before["video"] - before["audio"], abs=0.002)
    assert min(after.values()) == pytest.approx(0, abs=0.002)


def test_sound_that_mp4_files_rarely_hold_becomes_aac(segmenter, tmp_path):
    write_video(tmp_path / "video.avi", audio="pcm_s16le", sound_seconds=0.8)
    report = segment_video(segmenter, tmp_path / "video.avi", tmp_path)
    assert report.notes == ("audio track 1 (pcm_s16le) is transcoded to AAC",)
    with av.open(str(report.overlay)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 16000 == pytest.approx(0.8, abs=0.15)


def test_sound_of_a_rate_that_aac_does_not_know_is_resampled(segmenter, tmp_path):
    write_video(tmp_path / "video.mkv", frames=4)
    with av.open(str(tmp_path / "video.mkv")) as picture, av.open(str(tmp_path / "fine.mkv"), "w") as out:
        video = out.add_stream_from_template(picture.streams.video[0])
        track = out.add_stream("pcm_s16le", rate=192_000, layout="mono")
        for packet in picture.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        audio = av.AudioFrame.from_ndarray(np.zeros((1, 76_800), np.int16), format="s16", layout="mono")
        audio.sample_rate, audio.pts, audio.time_base = 192_000, 0, Fraction(1, 192_000)
        out.mux(track.encode(audio))
    report = segment_video(segmenter, tmp_path / "fine.mkv", tmp_path / "out")
    assert report.notes == ("audio track 1 (pcm_s16le) is transcoded to AAC",)
    with av.open(str(report.overlay)) as container:
        (stream,) = container.streams.audio
        assert stream.sample_rate == 96_000
        assert float(stream.duration * stream.time_base) == pytest.approx(0.4, abs=0.03)


def test_sound_that_cannot_be_stored_is_left_out_and_said(segmenter, tmp_path, monkeypatch):
    write_video(tmp_path / "video.mp4", audio="aac")

    def refuse(*_, **__):
        raise av.error.ArgumentError(22, "no")

    monkeypatch.setattr(writing, "open_audio_tracks", refuse)
    report = segment_video(segmenter, tmp_path / "video.mp4", tmp_path)
    assert report.notes == ("audio track 1 (aac) is dropped: it cannot be decoded, or cannot be stored as MP4",)
    assert len(read_video(report.overlay)[0]) == 8


def test_a_turned_clip_comes_out_upright(segmenter, tmp_path):
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    write_video(tmp_path / "phone.mp4", frames=2, matrix=quarter, aspect=Fraction(4, 3))
    report = segment_video(segmenter, tmp_path / "phone.mp4", tmp_path, labels=True)
    with av.open(str(report.overlay)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)
    labels = read_labels(report.labels / "000001.png")
    assert np.mean((labels == RED_LABEL) == np.rot90((picture(0) == RED).all(axis=2), -1)) > 0.85


def test_an_odd_size_gets_a_row_and_a_column(segmenter, tmp_path):
    write_video(tmp_path / "odd.mkv", frames=2, width=63, height=47, pix_fmt="yuv444p")
    report = segment_video(segmenter, tmp_path / "odd.mkv", tmp_path, labels=True)
    assert read_video(report.overlay)[0][0].shape == (48, 64, 3)
    assert read_labels(report.labels / "000001.png").shape == (47, 63)


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 1), (9, 14, 9, 1), (1, 1, 1, 2), (2, 2, 2, 0)])
def test_colors_come_out_as_they_went_in(segmenter, tmp_path, tags):
    write_video(tmp_path / "tagged.mp4", frames=1, tags=tags)
    segment_video(segmenter, tmp_path / "tagged.mp4", tmp_path)
    with av.open(str(tmp_path / "tagged.overlay.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_trc, frame.color_primaries) == tags[:3]
        assert frame.color_range in (0, 1)
        assert np.abs(frame.to_ndarray(format="rgb24")[40].astype(int) - 0.7 * 128).max() < 8


def test_frames_that_change_their_size_are_fitted(segmenter, tmp_path):
    path = tmp_path / "changing.ts"
    write_video(path, frames=4)
    write_video(tmp_path / "rest.ts", frames=4, width=96, height=48, pts=range(4, 8), time_base=Fraction(1, 10))
    path.write_bytes(path.read_bytes() + (tmp_path / "rest.ts").read_bytes())
    report = segment_video(segmenter, path, tmp_path, labels=True)
    (note,) = report.notes
    assert note.startswith("frames change to 96x48 at ")
    assert note.endswith("they are scaled to fit 64x48")
    frames, _ = read_video(report.overlay)
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert frames[-1][:6].max() < 40  # black above
    shapes = {read_labels(path).shape for path in report.labels.glob("*.png")}
    assert shapes == {(48, 64), (48, 96)}


def test_a_frame_that_h264_cannot_hold_is_one_line(segmenter, tmp_path):
    write_video(tmp_path / "video.mkv", frames=1, width=16_500, height=16, codec="ffv1", options={})
    with pytest.raises(InputError, match=r"video.mkv: frames of 16500x16 cannot be encoded \(.*\); .*16384"):
        segment_video(segmenter, tmp_path / "video.mkv", tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_an_error_of_ffmpeg_is_one_line_and_a_full_disk_stays_what_it_is(segmenter, tmp_path, monkeypatch):
    write_video(tmp_path / "video.mp4")

    def broken(error):
        def add(*_):
            raise error

        monkeypatch.setattr(VideoWriter, "add", add)
        return segment_video(segmenter, tmp_path / "video.mp4", tmp_path / "out")

    with pytest.raises(InputError, match=r"video.mp4: cannot be segmented \(odd\)"):
        broken(av.error.ExternalError(1, "odd"))
    with pytest.raises(OSError, match="full"):
        broken(av.error.OSError(errno.ENOSPC, "full"))
    assert names(tmp_path / "out") == []


def test_a_damaged_clip_gives_what_can_be_read(segmenter, tmp_path):
    path = tmp_path / "cut.mkv"
    write_video(path, frames=16, options={"g": "1"}, audio="aac")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    report = segment_video(segmenter, path, tmp_path, labels=True)
    assert 2 <= report.frames < 16
    assert len(read_video(report.overlay)[0]) == report.frames
    assert report.damage[0].startswith("cut short: ")
    assert len(names(report.labels)) == report.frames + 1


def test_a_clip_without_a_frame_that_decodes_leaves_nothing(segmenter, tmp_path):
    path = tmp_path / "dark.mp4"
    write_video(path, frames=3)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as whole:
        for packet in whole.demux(video=0):
            if packet.size:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"dark\.mp4: "):
        segment_video(segmenter, path, tmp_path / "out", labels=True)
    assert names(tmp_path / "out") == []


def test_outputs_that_exist(segmenter, tmp_path):
    video = tmp_path / "video.mp4"
    write_video(video, frames=3)
    first = segment_video(segmenter, video, tmp_path, labels=True)
    with pytest.raises(InputError, match=r"video\.overlay\.mp4: exists"):
        segment_video(segmenter, video, tmp_path)
    first.overlay.unlink()
    write_video(video, frames=2)
    label_frame = tmp_path / "video/000001.png"
    made = label_frame.read_bytes()
    Image.open(label_frame).save(label_frame)  # painted over, say
    with pytest.raises(InputError, match=r"video: exists"):
        segment_video(segmenter, video, tmp_path, labels=True)
    label_frame.write_bytes(made)
    # As a run leaves them that was killed between the two.
    segment_video(segmenter, video, tmp_path, labels=True)
    assert names(tmp_path / "video") == ["000001.png", "000002.png", "times.csv"]
    first.overlay.write_bytes(video.read_bytes())
    with pytest.raises(InputError, match=r"video\.overlay\.mp4: exists"):
        segment_video(segmenter, video, tmp_path, labels=True)
    segment_video(segmenter, video, tmp_path, labels=True, overwrite=True)
    assert names(tmp_path / "video") == ["000001.png", "000002.png", "times.csv"]
    (tmp_path / "video" / "notes.txt").touch()
    with pytest.raises(InputError, match="holds more than label frames"):
        segment_video(segmenter, video, tmp_path, labels=True, overwrite=True)
    assert names(tmp_path) == ["video", "video.mp4", "video.overlay.mp4"]


def test_the_clip_itself_is_never_replaced(segmenter, tmp_path):
    video = tmp_path / "a.overlay.mp4"
    write_video(video, frames=1)
    with pytest.raises(InputError, match="is the video itself"):
        segment_video(segmenter, video, tmp_path, "a", overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_goes_wrong_in_the_middle_leaves_no_file_and_no_thread(segmenter, tmp_path, monkeypatch, error):
    write_video(tmp_path / "video.mp4")
    plain, count = VideoWriter.add, iter(range(8))

    def fail(self, *arguments):
        if next(count) == 4:
            raise error
        plain(self, *arguments)

    monkeypatch.setattr(VideoWriter, "add", fail)
    threads = threading.active_count()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/video.overlay.mp4").write_text("before")
    with pytest.raises(type(error)):
        segment_video(segmenter, tmp_path / "video.mp4", tmp_path / "out", labels=True, overwrite=True)
    assert names(tmp_path / "out") == ["video.overlay.mp4"]
    assert (tmp_path / "out/video.overlay.mp4").read_text() == "before"
    assert threading.active_count() == threads


def test_an_error_of_the_segmenter_reaches_the_caller(tiny_model, tmp_path, monkeypatch):
    write_video(tmp_path / "video.mp4")

    def refuse(*_, **__):
        raise InputError("image: refused")

    segmenter = Segmenter(tiny_model)
    monkeypatch.setattr(segmenter.engine, "scores", refuse)
    with pytest.raises(InputError, match="image: refused"):
        segment_video(segmenter, tmp_path / "video.mp4", tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_without_x264_nothing_is_written(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    write_video(tmp_path / "video.mp4", frames=1)
    with pytest.raises(InputError, match="libx264"):
        segment_video(segmenter, tmp_path / "video.mp4", tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_names_can_be_left_away(segmenter, tmp_path):
    write_video(tmp_path / "big.mp4", frames=1, width=256, height=192)
    with_names = segment_video(segmenter, tmp_path / "big.mp4", tmp_path / "with")
    without = segment_video(segmenter, tmp_path / "big.mp4", tmp_path / "without", names=False)
    shown, plain = (read_video(report.overlay)[0][0].astype(int) for report in (with_names, without))
    assert np.abs(shown - plain).max() > 60


def test_masks_are_marked_as_made_here(segmenter, tmp_path):
    write_video(tmp_path / "video.mp4", frames=1)
    report = segment_video(segmenter, tmp_path / "video.mp4", tmp_path, labels=True)
    with Image.open(report.labels / "000001.png") as image:
        assert image.mode == "P"
        assert image.info["Software"] == "atrous"


def test_a_name_that_is_too_long_is_a_line(tiny_model, tmp_path):
    with pytest.raises(InputError, match="rename the video"):
        segment_video(Segmenter(tiny_model), tmp_path / "video.mp4", tmp_path, "x" * 250)
