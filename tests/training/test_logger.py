import csv
import importlib.util
import io
import shutil
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from rich.console import Console

from atrous.errors import InputError, MissingExtra
from atrous.training import logger as module
from atrous.training.logger import Journal
from atrous.training.progress import Progress

ITERATIONS = 8


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch, request):
    """Most tests are about the tables; drawing takes its time."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(module, "draw_curves", lambda folder: None)


@pytest.fixture
def drawn():
    pytest.importorskip("matplotlib")


def report(step, loss=None):
    return Progress(step, loss or 1 / step, 1e-3, 2.5, 60.0, 300 << 20, 0.125)


def keep(folder, first, last, *, evaluate=(), tensorboard=False, loss=None):
    console = Console(file=io.StringIO())
    with Journal(folder, iterations=ITERATIONS, first_step=first, console=console, tensorboard=tensorboard) as journal:
        for step in range(first + 1, last + 1):
            journal.step(report(step, loss))
            if step in evaluate:
                journal.evaluation(step, step / 100, 0.9)
    return console.file.getvalue()


def write(folder, what):
    with Journal(folder, iterations=8, first_step=0, console=Console(quiet=True), tensorboard=False) as journal:
        what(journal)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_a_step(tmp_path):
    keep(tmp_path / "new" / "run", 0, 2, evaluate=[2])
    assert (tmp_path / "new/run/log.csv").read_text() == (
        "step,loss,rate,crops_per_second,memory_mib,waiting\n"
        "1,1.00000,1.0000e-03,2.500,300,0.125\n"
        "2,0.50000,1.0000e-03,2.500,300,0.125\n"
    )
    assert (tmp_path / "new/run/evaluations.csv").read_text() == "step,mean_iou,pixel_accuracy\n2,0.02000,0.90000\n"


def test_lines_are_on_disk_at_once(tmp_path):
    with Journal(tmp_path, iterations=2, first_step=0, console=Console(quiet=True), tensorboard=False) as journal:
        journal.step(report(1))
        assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["1"]
        journal.evaluation(1, 0.5, 0.9)
        assert rows(tmp_path / "evaluations.csv")[0]["mean_iou"] == "0.50000"


def test_a_run_that_goes_on_drops_what_comes_after_its_checkpoint(tmp_path):
    keep(tmp_path, 0, 5, evaluate=[2, 4, 5], loss=9.0)
    keep(tmp_path, 4, 6, evaluate=[6])
    log = rows(tmp_path / "log.csv")
    assert [row["step"] for row in log] == ["1", "2", "3", "4", "5", "6"]
    assert [row["loss"] for row in log] == ["9.00000"] * 4 + ["0.20000", "0.16667"]
    assert [row["step"] for row in rows(tmp_path / "evaluations.csv")] == ["2", "4", "6"]


def test_a_run_that_begins_anew_begins_anew(tmp_path):
    keep(tmp_path, 0, 5, evaluate=[2])
    keep(tmp_path, 0, 1)
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["1"]
    assert rows(tmp_path / "evaluations.csv") == []


def test_an_evaluation_made_twice_counts_once(tmp_path):
    keep(tmp_path, 0, 4, evaluate=[4])
    with Journal(tmp_path, iterations=8, first_step=4, console=Console(quiet=True), tensorboard=False) as journal:
        journal.evaluation(4, 0.75, 0.9)
    keep(tmp_path, 4, 4)
    assert [(row["step"], row["mean_iou"]) for row in rows(tmp_path / "evaluations.csv")] == [("4", "0.75000")]


@pytest.mark.parametrize("tail", ["3,0.1", "3", "3,0.1,1e-3,2.5,300,0.1", "\0\0\0\0\n", "x,y\n", "3,0.1\n"])
def test_a_line_that_was_cut_off_is_dropped(tmp_path, tail):
    keep(tmp_path, 0, 2)
    with (tmp_path / "log.csv").open("a") as file:
        file.write(tail)
    keep(tmp_path, 3, 4)
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["1", "2", "4"]


@pytest.mark.parametrize("content", [b"", b"step,lo"])
def test_a_head_that_was_cut_off_is_written_again(tmp_path, content):
    (tmp_path / "log.csv").write_bytes(content)
    keep(tmp_path, 1, 2)
    assert [row["loss"] for row in rows(tmp_path / "log.csv")] == ["0.50000"]


def test_a_table_with_fewer_or_other_columns_goes_on(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss,rate,temperature\r\n1,2.9,4e-05,20\r\n2,2.4,3e-05,21\r\n")
    keep(tmp_path, 2, 3)
    first, second, third = rows(tmp_path / "log.csv")
    assert list(first) == ["step", "loss", "rate", "crops_per_second", "memory_mib", "waiting", "temperature"]
    assert list(second.values()) == ["2", "2.4", "3e-05", "", "", "", "21"]
    assert list(third.values()) == ["3", "0.33333", "1.0000e-03", "2.500", "300", "0.125", ""]


def test_a_table_of_something_else_is_refused_and_left(tmp_path):
    (tmp_path / "log.csv").write_text("time,temperature\n1,2\n")
    with pytest.raises(InputError, match=r"log\.csv: expected a table that begins with 'step', got 'time,temperature'"):
        keep(tmp_path, 0, 1)
    assert (tmp_path / "log.csv").read_text() == "time,temperature\n1,2\n"


def test_rewriting_for_a_run_that_goes_on_is_whole_or_not_at_all(tmp_path, monkeypatch):
    keep(tmp_path, 0, 3)
    before = (tmp_path / "log.csv").read_bytes()

    def full(self, data):
        self.open("wb").write(data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"log\.csv: cannot be written \(No space left on device\); make room"):
        keep(tmp_path, 2, 3)
    monkeypatch.undo()
    assert (tmp_path / "log.csv").read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("table", "name"), [("_log", "log.csv"), ("_evaluations", "evaluations.csv")])
def test_a_full_disk_is_one_line(tmp_path, table, name):
    def fill(journal):
        getattr(journal, table)._file.close()
        getattr(journal, table)._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
        journal.step(report(1))
        journal.evaluation(1, 0.5, 0.9)

    with pytest.raises(InputError) as caught:
        write(tmp_path, fill)
    reason = "cannot be written (No space left on device); make room and give the same command again: it resumes"
    assert str(caught.value) == f"{tmp_path / name}: {reason}"


def test_a_run_that_meets_a_full_disk_goes_on_later(tmp_path):
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")

    def fill(journal):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        try:
            for step in range(1, 9):
                journal.step(report(step))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with pytest.raises(InputError, match=r"log\.csv: cannot be written \(File too large\); make room"):
        write(tmp_path, fill)
    cut_off = (tmp_path / "log.csv").read_text()
    assert len(cut_off) == 200
    assert not cut_off.endswith("\n")
    whole = cut_off.count("\n") - 1
    keep(tmp_path, whole, whole + 1)
    assert [int(row["step"]) for row in rows(tmp_path / "log.csv")] == list(range(1, whole + 2))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/run: cannot be written \(Not a directory\); see to its folder"):
        keep(tmp_path / "file" / "run", 0, 1)


def test_curves_are_drawn_at_each_evaluation_and_at_the_end(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    steps = []
    monkeypatch.setattr(module, "draw_curves", lambda folder: steps.append(len(rows(folder / "log.csv"))))
    keep(tmp_path, 0, 6, evaluate=[2, 4])
    assert steps == [2, 4, 6]


def test_the_picture_is_there(tmp_path, drawn):
    keep(tmp_path, 0, 3, evaluate=[2])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_drawn_of_an_interrupted_run_too(tmp_path, drawn):
    def interrupt(journal):
        journal.step(report(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, interrupt)
    assert (tmp_path / "curves.png").exists()


def test_what_ended_a_run_is_not_hidden_by_curves_that_cannot_be_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def full(folder):
        raise InputError("curves.png: cannot be written")

    monkeypatch.setattr(module, "draw_curves", full)

    def diverge(journal):
        raise InputError("loss is nan")

    with pytest.raises(InputError, match="loss is nan"):
        write(tmp_path, diverge)
    with pytest.raises(InputError, match=r"curves\.png"):
        keep(tmp_path, 0, 1)


def without(monkeypatch, *missing):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in missing else real(name, *a))


def test_without_matplotlib_there_is_a_note_and_no_failure(tmp_path, monkeypatch):
    without(monkeypatch, "matplotlib")
    said = keep(tmp_path, 0, 8, evaluate=[4, 8])
    assert said.count("note:") == 1
    assert said.startswith("note: curves.png needs matplotlib: pip install 'atrous[plot]'\n")
    assert len(rows(tmp_path / "evaluations.csv")) == 2
    assert not (tmp_path / "curves.png").exists()


def test_without_tensorboard_there_are_no_events(tmp_path, monkeypatch):
    without(monkeypatch, "tensorboard")
    said = keep(tmp_path, 0, 8, tensorboard="auto")
    assert "ensor" not in said
    assert not (tmp_path / "tensorboard").exists()
    with pytest.raises(MissingExtra, match="pip install tensorboard"):
        keep(tmp_path, 0, 8, tensorboard=True)


def test_a_tensorboard_that_is_broken_is_a_note(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: real("json" if name == "tensorboard" else name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "note: TensorBoard is installed but cannot be imported" in keep(tmp_path, 0, 8, tensorboard="auto")
    with pytest.raises(MissingExtra, match="cannot be imported"):
        keep(tmp_path, 0, 8, tensorboard=True)


def scalars(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(e.step, round(e.value, 3)) for e in events.Scalars(name)]


def test_tensorboard_hides_what_a_cut_off_run_wrote_too_much(tmp_path):
    pytest.importorskip("tensorboard")
    keep(tmp_path, 0, 5, tensorboard="auto", evaluate=[2, 5], loss=9.0)
    keep(tmp_path, 3, 6, tensorboard="auto", evaluate=[6])
    folder = tmp_path / "tensorboard"
    assert scalars(folder, "train/loss") == [(1, 9), (2, 9), (3, 9), (4, 0.25), (5, 0.2), (6, 0.167)]
    assert scalars(folder, "evaluation/mean_iou") == [(2, 0.02), (6, 0.06)]
    assert scalars(folder, "speed/memory_mib")[0] == (1, 300)


def test_tensorboard_on_a_full_disk_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    with pytest.raises(InputError, match=r"tensorboard: cannot be written \(No space left on device\); make room"):
        keep(tmp_path, 0, 1, tensorboard="auto")


@pytest.mark.parametrize("line", ["9" * 200_000, "9" * 10_000])
def test_a_table_with_a_number_of_many_digits(tmp_path, line):
    path = tmp_path / "train.csv"
    path.write_text(f"step,loss\n{line},1\n2,0.5\n")
    if len(line) > 131_072:  # Python's limit of a field
        with pytest.raises(InputError, match=r"train\.csv: expected a table"):
            module._kept(path, ("step", "loss"), 9)
    else:
        assert module._kept(path, ("step", "loss"), 9) == (["step", "loss"], [["2", "0.5"]])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_tensorboard_that_fails_is_one_line(tmp_path):
    pytest.importorskip("tensorboard")
    before = threading.excepthook
    with pytest.raises(InputError, match="tensorboard: cannot be written"):
        keep_without_a_folder(tmp_path)
    assert threading.excepthook is before


def keep_without_a_folder(folder):
    with Journal(folder, iterations=8, first_step=0, console=Console(quiet=True), tensorboard=True) as journal:
        shutil.rmtree(folder / "tensorboard")
        for step in range(1, 9):
            journal.step(report(step))
