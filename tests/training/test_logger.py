import csv
import errno
import importlib.util
import io
import sys
import threading

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from rich.console import Console

from atrous.errors import InputError
from atrous.training import logger as module
from atrous.training.logger import Logger, peak_memory

STEPS = 8


class Clock:
    """A clock that tests move."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture(autouse=True)
def _tables_alone(monkeypatch, request):
    """Most tests are about the tables; curves and events take their time."""
    missing = {"matplotlib", "tensorboard"} - {"matplotlib" if "drawn" in request.fixturenames else ""}
    missing -= {"tensorboard"} if "events" in request.fixturenames else set()
    real = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in missing else real(name))


@pytest.fixture
def drawn():
    pytest.importorskip("matplotlib")


@pytest.fixture
def events():
    pytest.importorskip("tensorboard")


def logger(folder, first=0, console=None):
    return Logger(folder, STEPS, first, crops=6, console=console or Console(file=io.StringIO()))


def log(folder, first, last, *, evaluate=(), loss=None):
    console = Console(file=io.StringIO(), width=200)
    with logger(folder, first, console) as open_logger:
        for step in range(first + 1, last + 1):
            open_logger.step(step, loss or 1 / step, 1e-3)
            if step in evaluate:
                open_logger.evaluation(step, step / 100, 0.9)
    return console.file.getvalue()


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def steps(path):
    return [int(row["step"]) for row in rows(path)]


def test_each_step_and_evaluation_is_a_row_on_disk_at_once(tmp_path):
    with logger(tmp_path / "new" / "run") as open_logger:
        open_logger.step(1, 0.5, 1e-3)
        (row,) = rows(tmp_path / "new/run/log.csv")
        assert (row["step"], row["loss"], row["lr"]) == ("1", "0.50000", "1.0000e-03")
        open_logger.evaluation(1, 0.5, 0.9)
        (row,) = rows(tmp_path / "new/run/evaluations.csv")
        assert row == {"step": "1", "mean_iou": "0.50000", "pixel_accuracy": "0.90000"}


def measure(folder, monkeypatch, waits, *, compute=2.0, save=0.0):
    """Log steps of `compute` seconds whose crops come after `waits` seconds; return the rows."""
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)

    def crops():
        for wait in waits:
            clock.seconds += wait
            yield "crops"

    with logger(folder) as open_logger:
        for step, _ in enumerate(open_logger.loading(crops()), start=1):
            clock.seconds += compute
            open_logger.step(step, 0.5, 1e-3)
            with open_logger.paused():
                clock.seconds += save
    return [(float(row["crops_per_second"]), float(row["waiting"])) for row in rows(folder / "log.csv")]


def test_speed_is_crops_over_the_time_of_training_alone(tmp_path, monkeypatch):
    assert measure(tmp_path, monkeypatch, [0] * 5, save=60) == [(3, 0)] * 5


def test_waiting_counts_but_for_the_first_crops(tmp_path, monkeypatch):
    found = measure(tmp_path, monkeypatch, [30, 0, 6, 0])
    assert [waiting for _, waiting in found] == pytest.approx([0, 0, 6 / 12, 6 / 14], abs=1e-3)
    assert found[-1][0] == pytest.approx(4 * 6 / 14, abs=1e-3)


def test_speed_is_that_of_the_last_hundred_steps(tmp_path, monkeypatch):
    found = measure(tmp_path, monkeypatch, [0] + [8] * 50 + [0] * 100)
    assert found[50][0] < 1
    assert found[-1] == (3, 0)


def test_rows_after_the_checkpoint_are_removed_on_resuming(tmp_path):
    log(tmp_path, 0, 5, evaluate=[2, 4, 5], loss=9.0)
    log(tmp_path, 4, 6, evaluate=[6])
    assert steps(tmp_path / "log.csv") == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in rows(tmp_path / "log.csv")] == ["9.00000"] * 4 + ["0.20000", "0.16667"]
    assert steps(tmp_path / "evaluations.csv") == [2, 4, 6]


def test_a_run_that_starts_again_starts_its_tables_again(tmp_path):
    log(tmp_path, 0, 5, evaluate=[2])
    log(tmp_path, 0, 1)
    assert steps(tmp_path / "log.csv") == [1]
    assert steps(tmp_path / "evaluations.csv") == []


def test_an_evaluation_made_twice_counts_once(tmp_path):
    log(tmp_path, 0, 4, evaluate=[4])
    with logger(tmp_path, 4) as open_logger:
        open_logger.evaluation(4, 0.75, 0.9)
    log(tmp_path, 4, 4)
    assert [(row["step"], row["mean_iou"]) for row in rows(tmp_path / "evaluations.csv")] == [("4", "0.75000")]


@pytest.mark.parametrize(
    "tail",
    [
        *("3,0.1", "3", "3,0.1,1e-3,2.5,300,0.1", "\0\0\0\0\n", "x,y\n", "3,0.1\n"),
        *("3,x,1e-3,2.5,300,0.1\n", "3,nan,1e-3,2.5,,0.1\n"),
    ],
)
def test_an_incomplete_last_row_is_removed(tmp_path, tail):
    log(tmp_path, 0, 2)
    with (tmp_path / "log.csv").open("a") as file:
        file.write(tail)
    log(tmp_path, 3, 4)
    assert steps(tmp_path / "log.csv") == [1, 2, 4]


@pytest.mark.parametrize("content", [b"", b"step,lo"])
def test_an_incomplete_header_is_written_again(tmp_path, content):
    (tmp_path / "log.csv").write_bytes(content)
    log(tmp_path, 1, 2)
    assert [row["loss"] for row in rows(tmp_path / "log.csv")] == ["0.50000"]


@pytest.mark.parametrize("header", ["time,temperature", "step,loss"])
def test_another_table_is_refused_and_kept(tmp_path, header):
    (tmp_path / "log.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(InputError, match=r"log\.csv"):
        log(tmp_path, 0, 1)
    assert (tmp_path / "log.csv").read_text() == f"{header}\n1,2\n"


def test_resuming_writes_a_table_whole_or_not_at_all(tmp_path, monkeypatch):
    log(tmp_path, 0, 3)
    before = (tmp_path / "log.csv").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"log\.csv"):
        log(tmp_path, 2, 3)
    monkeypatch.undo()
    assert (tmp_path / "log.csv").read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("digits", [10_000, 200_000])
def test_a_step_of_many_digits_is_no_step(tmp_path, digits):
    log(tmp_path, 0, 1)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("9" * digits + ",0.5,1e-3,1,1,0\n")
    log(tmp_path, 1, 2)
    assert steps(tmp_path / "log.csv") == [1, 2]


def test_a_run_resumes_after_a_full_disk(tmp_path):
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")

    def fill():
        with logger(tmp_path) as open_logger:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
            try:
                for step in range(1, 9):
                    open_logger.step(step, 1 / step, 1e-3)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with pytest.raises(InputError, match=r"log\.csv"):
        fill()
    text = (tmp_path / "log.csv").read_text()
    assert len(text) == 200
    whole = text.count("\n") - 1
    log(tmp_path, whole, whole + 1)
    assert steps(tmp_path / "log.csv") == list(range(1, whole + 2))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/run"):
        log(tmp_path / "file" / "run", 0, 1)


def test_curves_are_drawn_at_each_evaluation_and_at_the_end(tmp_path, monkeypatch, drawn):
    drawings = []
    monkeypatch.setattr(module, "draw_curves", lambda folder: drawings.append(len(rows(folder / "log.csv"))))
    log(tmp_path, 0, 6, evaluate=[2, 4])
    assert drawings == [2, 4, 6]


def test_curves_have_gaps_at_empty_cells(tmp_path, drawn):
    log(tmp_path, 0, 1)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("2,,,,,\n")
    log(tmp_path, 2, 3)
    assert steps(tmp_path / "log.csv") == [1, 2, 3]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_drawn_of_an_interrupted_run_too(tmp_path, drawn):
    def interrupt():
        with logger(tmp_path) as open_logger:
            open_logger.step(1, 0.5, 1e-3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_runs_own_error_comes_before_that_of_its_curves(tmp_path, monkeypatch, drawn):
    def full(folder):
        raise InputError("curves.png: cannot be written")

    monkeypatch.setattr(module, "draw_curves", full)
    with pytest.raises(ZeroDivisionError), logger(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(InputError, match="curves"):
        log(tmp_path, 0, 1)


def test_without_matplotlib_there_is_one_note(tmp_path):
    assert log(tmp_path, 0, 8, evaluate=[4, 8]).count("note:") == 1
    assert not (tmp_path / "curves.png").exists()


def test_without_tensorboard_there_are_no_events(tmp_path):
    log(tmp_path, 0, 2)
    assert not (tmp_path / "tensorboard").exists()


def test_a_broken_tensorboard_is_a_note(tmp_path, monkeypatch, events):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "TensorBoard" in log(tmp_path, 0, 2)
    assert steps(tmp_path / "log.csv") == [1, 2]


def scalars(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(e.step, round(e.value, 3)) for e in accumulator.Scalars(name)]


def test_events_after_the_checkpoint_are_hidden_on_resuming(tmp_path, events):
    log(tmp_path, 0, 5, evaluate=[2, 5], loss=9.0)
    log(tmp_path, 3, 6, evaluate=[6])
    found = scalars(tmp_path / "tensorboard", "train/loss")
    assert found == [(1, 9), (2, 9), (3, 9), (4, 0.25), (5, 0.2), (6, 0.167)]
    assert scalars(tmp_path / "tensorboard", "evaluation/mean_iou") == [(2, 0.02), (6, 0.06)]


def test_events_on_a_full_disk_are_one_line(tmp_path, monkeypatch, events):
    from torch.utils.tensorboard import SummaryWriter

    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    with pytest.raises(InputError, match="tensorboard"):
        log(tmp_path, 0, 1)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_thread_of_tensorboard_is_one_line(tmp_path, events):
    def log_without_a_folder():
        with logger(tmp_path) as open_logger:
            (tmp_path / "tensorboard").rename(tmp_path / "moved")  # at once: the thread writes meanwhile
            for step in range(1, 9):
                open_logger.step(step, 0.5, 1e-3)

    before = threading.excepthook
    with pytest.raises(InputError, match="tensorboard"):
        log_without_a_folder()
    assert threading.excepthook is before


def test_without_a_terminal_every_tenth_step_and_the_last_are_printed(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    with Logger(tmp_path, 13, 0, crops=6, console=console) as open_logger:
        for step in range(1, 14):
            open_logger.step(step, float(step), 1e-3)
            if step == 12:
                open_logger.evaluation(step, 0.5, 0.9)
    _, ten, evaluation, last = console.file.getvalue().splitlines()
    assert ten.split()[:4] == ["step", "10/13", "loss", "5.500"]  # the mean of 1 to 10
    assert "50.00 %" in evaluation
    assert last.split()[:4] == ["step", "13/13", "loss", "7.000"]
    assert "mIoU 50.00 %" in last


def test_on_a_terminal_a_bar_is_shown(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    log_to = logger(tmp_path, console=console)
    with log_to as open_logger:
        open_logger.step(1, 0.5, 1e-3)
        open_logger.step(STEPS, 0.25, 1e-3)
    shown = console.file.getvalue()
    assert "100%" in shown
    assert "loss 0.375" in shown


def test_memory_grows_with_what_is_held():
    before = peak_memory("cpu")
    if not before:
        pytest.skip("this system does not report a process's memory")
    held = bytearray(b"x" * (before + (64 << 20)))
    assert peak_memory("cpu") - before > 48 << 20
    assert len(held) > before


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tensorboard_that_never_closes_does_not_keep_a_failed_run(tmp_path, events, monkeypatch):
    monkeypatch.setattr("atrous.training.logger._PATIENCE", 0.2)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.close", lambda self: threading.Event().wait())
    with pytest.raises(RuntimeError, match="killed"), logger(tmp_path):
        raise RuntimeError("a loader process was killed")


def test_a_tensorboard_that_cannot_be_opened_is_one_line(tmp_path, events, monkeypatch):
    from tensorboard.summary.writer import record_writer

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_writer.RecordWriter, "write", full)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back afterwards
    with pytest.raises(InputError, match="tensorboard"):
        log(tmp_path, 0, 2)
