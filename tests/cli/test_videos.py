import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

pytest.importorskip("av", reason="av is not installed (extra video)")
sys.path.insert(0, str(Path(__file__).parents[1] / "video"))

from video_files import write_video

import atrous
from atrous.cli.jobs import Job, file_keys
from atrous.cli.output_keys import made_otherwise, output_keys
from atrous.cli.videos import segment_videos, unfinished_videos
from atrous.segmenter import Segmenter
from atrous.video.writer import VideoWriter


@pytest.fixture
def run(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    segmenter = Segmenter(tiny_model, crf=None, threads=1)

    def call(*clips, overwrite=False, labels=False, **printed):
        errors = []
        jobs = [Job(Path(clip), Path(clip).with_suffix("")) for clip in clips]
        options = {"overwrite": overwrite, "labels": labels, "fail": errors.append}
        inputs = file_keys(job.path for job in jobs)
        jobs, done = unfinished_videos(jobs, Path("out"), inputs, **options)
        call.done_before = len(done)
        if jobs:
            keys = {job: output_keys(job, [], None) for job in jobs}
            segment_videos(jobs, segmenter, Path("out"), keys=keys, **options, **printed)
        return capsys.readouterr(), errors

    return call


def test_a_line_for_each_clip(run, tmp_path):
    write_video(tmp_path / "a.mp4", frames=4)
    (tmp_path / "deep").mkdir()
    write_video(tmp_path / "deep/b.mkv", frames=1)
    printed, errors = run("a.mp4", "deep/b.mkv")
    assert errors == []
    assert printed.err == ""
    one, two = printed.out.splitlines()
    assert one.startswith("a.mp4: 4 frames, 0.40 s: red ")
    assert one.endswith(" frames/s)")
    assert two.startswith("deep/b.mkv: 1 frame, 0.10 s: ")
    assert (tmp_path / "out/deep/b.overlay.mp4").is_file()
    assert not (tmp_path / "out/a").exists()
    assert run("a.mp4", labels=True, overwrite=True)[1] == []
    assert len(list((tmp_path / "out/a").glob("*.png"))) == 4


def test_another_clip_of_the_same_name_is_not_taken_for_it(run, tmp_path):
    write_video(tmp_path / "a.mp4", frames=4)
    job = Job(Path("a.mp4"), Path("a"))
    run("a.mp4")
    keys = output_keys(job, [], None)
    assert not made_otherwise(job, Path("out"), keys)
    assert made_otherwise(job, Path("out"), output_keys(job, ["--no-crf"], None))
    write_video(tmp_path / "a.mp4", frames=5)
    assert made_otherwise(job, Path("out"), output_keys(job, [], None))


def test_what_is_wrong_is_said_and_the_others_are_done(run, tmp_path):
    (tmp_path / "text.mp4").write_text("text")
    write_video(tmp_path / "cut.mkv", frames=16, options={"g": "1"})
    data = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 7 // 10])
    write_video(tmp_path / "sound.avi", frames=2, audio="pcm_s16le")
    write_video(tmp_path / "good.mp4", frames=2)
    printed, errors = run("text.mp4", "missing.mp4", "cut.mkv", "sound.avi", "good.mp4")
    assert [error.split(":")[0] for error in errors] == ["text.mp4", "missing.mp4", "cut.mkv"]
    assert "cut short" in errors[2]
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["cut.mkv", "sound.avi", "good.mp4"]
    assert printed.err.startswith("sound.avi: audio track 1 (pcm_s16le)")
    printed, errors = run("good.mp4", "sound.avi")
    assert (printed.out, errors, run.done_before) == ("", [], 2)
    (tmp_path / "out/good.overlay.mp4").write_text("somebody else's")
    (error,) = run("good.mp4", "sound.avi")[1]
    assert "good.overlay.mp4: exists" in error


def test_a_line_of_json_for_each_clip(run, tmp_path):
    write_video(tmp_path / "a.mp4", frames=4)
    write_video(tmp_path / "sound.avi", frames=2, audio="pcm_s16le")
    printed, errors = run("a.mp4", "sound.avi", json=True)
    assert errors == []
    one, two = map(json.loads, printed.out.splitlines())
    assert (one["video"], one["overlay"], one["frames"], one["duration"]) == ("a.mp4", "out/a.overlay.mp4", 4, 0.4)
    assert sum(one["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert one["seconds"] > 0
    assert two["video"] == "sound.avi"
    assert printed.err.startswith("sound.avi: audio track 1")
    assert run("a.mp4", "sound.avi", overwrite=True, quiet=True)[0] == ("", "")


def test_a_full_disk_is_a_line(run, tmp_path, monkeypatch):
    write_video(tmp_path / "clip.mp4", frames=2)

    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "finish", full)
    reason = "out/clip.overlay.mp4: cannot be written (No space left on device)"
    assert run("clip.mp4")[1] == [reason]
    for name in ("other.mp4", "third.mp4"):
        (tmp_path / name).write_bytes((tmp_path / "clip.mp4").read_bytes())
    first, second = run("clip.mp4", "other.mp4", "third.mp4")[1]
    assert first == reason
    assert second.startswith("2 videos remain")


def test_without_pyav_the_extra_is_named(run, monkeypatch, tmp_path):
    write_video(tmp_path / "clip.mp4", frames=1)
    for module in [name for name in sys.modules if name.startswith("atrous.video")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "av", None)
    (error,) = run("clip.mp4")[1]
    assert error.startswith("av is not installed")
    assert "extra 'video'" in error


def test_an_interrupt_is_a_line_and_status_130(run, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "a.mp4", frames=1)
    write_video(tmp_path / "b.mp4", frames=2)
    plain = VideoWriter.add

    def interrupt(self, picture, frame):
        if frame.pts:
            raise KeyboardInterrupt
        plain(self, picture, frame)

    monkeypatch.setattr(VideoWriter, "add", interrupt)
    with pytest.raises(typer.Exit) as caught:
        run("a.mp4", "b.mp4")
    assert caught.value.exit_code == 130
    assert "interrupted after 1 of 2 videos" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.overlay.mp4"]


@pytest.mark.slow
def test_ctrl_c_in_a_process_leaves_nothing(tiny_model, tmp_path):
    write_video(tmp_path / "long.mp4", frames=500, width=320, height=240)
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"  # a shell's & turns it off
        "import sys; from pathlib import Path; from atrous.cli.jobs import Job;"
        "from atrous.cli.videos import segment_videos; from atrous.segmenter import Segmenter; import typer\n"
        "job = Job(Path('long.mp4'), Path('long'))\n"
        f"try: segment_videos([job], Segmenter({str(tiny_model)!r}), Path('out'), keys={{job: {{}}}},"
        " overwrite=False, labels=True, fail=print)\n"
        "except typer.Exit as end: sys.exit(end.exit_code)"
    )
    package = os.fspath(Path(atrous.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([package, *sys.path])},
    )
    deadline = time.monotonic() + 60
    while (
        not list(tmp_path.glob("out/.*.tmp/long/000005.png")) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    (line,) = printed.splitlines()
    assert line.startswith("error: interrupted after 0 of 1 videos")
    assert list((tmp_path / "out").iterdir()) == []
