import io
import math
from contextlib import suppress

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from rich.console import Console

from atrous.training.progress import Clock, Progress, ProgressDisplay, memory_bytes, progress_line


class Time:
    """A clock's hand that tests move."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds

    def passes(self, seconds):
        self.seconds += seconds


def crops(time, waits):
    for wait in waits:
        time.passes(wait)
        yield "crops"


def run(waits, *, compute=2.0, save=0.0, iterations=1000, crops_a_step=6):
    time = Time()
    clock = Clock(iterations=iterations, crops=crops_a_step, now=time)
    reports = []
    for step, _ in enumerate(clock.loading(crops(time, waits)), start=50):
        time.passes(compute)
        reports.append(clock.tick(step + 1, 0.5, 1e-3))
        with clock.paused():
            time.passes(save)
    return reports


def test_speed_and_time_left_are_those_of_the_steps():
    first, *_, last = run([0] * 5)
    assert (first.step, last.step) == (51, 55)
    for report in (first, last):
        assert report.crops_per_second == pytest.approx(3)
        assert report.seconds_left == pytest.approx(2 * (1000 - report.step))
        assert report.waiting == 0
        assert (report.loss, report.rate) == (0.5, 1e-3)


def test_evaluating_and_saving_are_not_training():
    assert [r.crops_per_second for r in run([0] * 5, save=60)] == pytest.approx([3] * 5)


def test_a_pause_that_ends_in_an_error_is_left_out_too():
    time = Time()
    clock = Clock(iterations=10, crops=6, now=time)
    for step, _ in enumerate(clock.loading([1, 2])):
        time.passes(3)
        report = clock.tick(step + 1, 0.5, 1e-3)
        with suppress(OSError), clock.paused():
            time.passes(60)
            raise OSError
    assert report.crops_per_second == pytest.approx(2)


def test_waiting_is_the_loaders_share_but_for_its_start():
    reports = run([30, 0, 6, 0])
    assert [r.waiting for r in reports] == pytest.approx([0, 0, 6 / 12, 6 / 14])
    assert reports[-1].crops_per_second == pytest.approx(4 * 6 / 14)


def test_only_the_last_hundred_steps_count():
    reports = run([0] + [8] * 50 + [0] * 100)
    assert reports[50].crops_per_second < 1
    assert reports[-1].crops_per_second == pytest.approx(3)
    assert reports[-1].waiting == 0


def test_without_loading_the_first_step_has_no_speed():
    time = Time()
    clock = Clock(iterations=4, crops=6, now=time)
    time.passes(2)
    assert math.isnan(clock.tick(1, 0.5, 1e-3).crops_per_second)
    time.passes(2)
    assert clock.tick(2, 0.5, 1e-3).crops_per_second == pytest.approx(3)


def test_memory_grows_with_what_is_held():
    before = memory_bytes()
    if not before:
        pytest.skip("this system does not tell a process' memory")
    held = bytearray(b"x" * (64 << 20))
    assert memory_bytes() - before > 48 << 20
    assert len(held) == 64 << 20


REPORT = Progress(120, 0.5321, 2.3e-5, 0.474, 9060.0, 2040109466, 0.01)


def test_a_line():
    line = "step    120/6000  loss 0.532  rate 2.30e-05  0.47 crops/s  1.9 GiB  2h31 left"
    assert progress_line(REPORT, 6000) == line
    assert progress_line(REPORT, 6000, mean_iou=0.6125) == line + "  mIoU 61.25 %"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (41.4, "41 s left"),
        (59.9, "1 min left"),
        (61, "1 min left"),
        (3580, "1h00 left"),
        (9060, "2h31 left"),
        (4 * 86400, "4d00h left"),
        (math.nan, "? left"),
    ],
)
def test_time_left(seconds, said):
    report = Progress(1, 1.0, 1.0, 1.0, seconds, 0, 0.0)
    assert progress_line(report, 10).endswith(said)


def test_starving_is_said():
    report = Progress(1, 1.0, 1.0, 1.0, 60, 0, 0.25)
    assert progress_line(report, 10).endswith("25 % of it waiting for crops")


def shown(console, steps, iterations, first=0):
    with ProgressDisplay(console, iterations, first) as display:
        for step in range(first + 1, steps + 1):
            display.step(Progress(step, float(step), 1e-3, 2.0, 60.0, 1 << 30, 0.0))
            if step == 12:
                display.evaluation(step, 0.5, 0.9)
    return console.file.getvalue()


def test_a_file_gets_a_plain_line_every_ten_steps_and_at_the_end():
    lines = shown(Console(file=io.StringIO(), width=40), 23, 23).splitlines()
    heads = [line.split("  loss")[0] for line in lines]
    assert heads == [
        "step     10/23",
        "step 12: mean IoU 50.00 %, pixel accuracy 90.00 %",
        "step     20/23",
        "step     23/23",
    ]
    assert "loss 5.500" in lines[0]  # mean of 1 .. 10
    assert "mIoU" not in lines[0]
    assert lines[2].endswith("mIoU 50.00 %")


def test_a_terminal_gets_a_bar_and_the_evaluations_stay_above_it():
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=80, color_system=None)
    text = shown(console, 13, 13)
    assert "first crops are being read" in text
    assert "step 12: mean IoU 50.00 %, pixel accuracy 90.00 %\n" in text
    assert "step 13/13 ━" in text
    *_, last = [line for line in text.splitlines() if "loss" in line]
    assert "loss 7.000  rate 1.00e-03  2.00 crops/s  1.0 GiB  1 min left  mIoU 50.00 %" in last


def test_the_bar_fits_a_narrow_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=38, color_system=None)
    lines = [line for line in shown(console, 1, 6000).splitlines() if "step 1/6000" in line]
    assert lines
    assert all(line.rsplit("\x1b[2K")[-1].rstrip().endswith("0 %") for line in lines)
