import numpy as np
import pytest

from atrous.crf.tune.scorer import TrialScorer
from atrous.crf.tune.search import search
from atrous.crf.tune.trials import Trial, TrialTable
from atrous.errors import InputError

GRID = {"weights": [3, 6], "sxys": [8, 16], "srgbs": [6], "refinements": 1}
SAMPLE = (
    np.arange(192, dtype=np.uint8).reshape(8, 8, 3),
    np.stack([np.full((8, 8), 0.4), np.full((8, 8), 0.6)]),
    np.tile(np.array([0, 1], np.uint8), (8, 4)),
)


@pytest.fixture
def landscape(monkeypatch):
    """Stands in for the CRF; notes what is tried."""
    calls = []

    def mean_ious(self, sxy, srgb, weights, done):
        calls.extend((weight, sxy, srgb) for weight in weights)
        return [1 / (1 + abs(weight - 5) / 3 + abs(sxy - 13) / 7 + srgb / 100) for weight in weights]

    monkeypatch.setattr(TrialScorer, "mean_ious", mean_ious)
    return calls


def test_a_table_is_read_back_to_the_bit(tmp_path):
    trials = (Trial(3.0, 0.1, 1 / 3, 0.1 + 0.2), Trial(1e-5, 121.0, 5.0, 2 / 3))
    table = TrialTable(tmp_path / "t.csv", {"images": 3})
    table.add(trials[:1])
    table.add(trials[1:])
    again = TrialTable(tmp_path / "t.csv", {"images": 3})
    assert again.trials == table.trials == trials
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        '# {"images": 3}',
        "weight,sxy,srgb,mean_iou",
        "3.0,0.1,0.3333333333333333,0.30000000000000004",
        "1e-05,121.0,5.0,0.6666666666666666",
    ]


def test_without_a_path_nothing_is_written(landscape, tmp_path):
    result = search([SAMPLE], **GRID)
    assert not list(tmp_path.iterdir())
    result.save_csv(tmp_path / "saved.csv")
    assert search([SAMPLE], **GRID, table=tmp_path / "saved.csv").trials == result.trials


@pytest.mark.parametrize("kept", [0, 1, 5, 11])
def test_a_search_that_was_stopped_goes_on_where_it_was(landscape, tmp_path, kept):
    whole = search([SAMPLE], **GRID, table=tmp_path / "whole.csv")
    tried = list(landscape)
    lines = (tmp_path / "whole.csv").read_text().splitlines(keepends=True)
    # The next line was being written.
    torn = tmp_path / "torn.csv"
    torn.write_text("".join(lines[: 2 + kept]) + lines[2 + kept][:-4])
    landscape.clear()
    result = search([SAMPLE], **GRID, table=torn)
    assert sorted(landscape) == sorted(tried[kept:])
    assert result.best == whole.best
    assert sorted(torn.read_text().splitlines()) == sorted(map(str.strip, lines))


def test_ctrl_c_keeps_the_finished_trials(landscape, tmp_path, monkeypatch):
    mean_ious = TrialScorer.mean_ious

    def interrupted(self, sxy, srgb, weights, done):
        if sxy == 16:
            raise KeyboardInterrupt
        return mean_ious(self, sxy, srgb, weights, done)

    with monkeypatch.context() as patch:
        patch.setattr(TrialScorer, "mean_ious", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search([SAMPLE], **GRID, table=tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2 + 2
    landscape.clear()
    search([SAMPLE], **GRID, table=tmp_path / "t.csv")
    assert landscape[0] == (3, 16, 6)


def test_another_grid_goes_on_with_the_same_table(landscape, tmp_path):
    first = search([SAMPLE], **GRID, table=tmp_path / "t.csv")
    landscape.clear()
    second = search([SAMPLE], weights=[1, 2], sxys=[8, 9], srgbs=[6, 9], table=tmp_path / "t.csv", most_moves=0)
    assert not set(landscape) & {trial[:3] for trial in first.trials}
    assert second.trials[: len(first.trials)] == first.trials
    assert second.best == max(second.trials, key=lambda trial: trial.mean_iou)  # of the whole table


def test_a_fixed_parameter_holds_for_trials_of_an_earlier_search_too(landscape, tmp_path):
    first = search([SAMPLE], **GRID, table=tmp_path / "t.csv")
    second = search([SAMPLE], weights=[1], sxys=[8], srgbs=[6, 9], table=tmp_path / "t.csv")
    assert first.best[:2] != (1, 8)
    assert second.best[:2] == (1, 8)


@pytest.mark.parametrize(
    ("samples", "options", "key"),
    [
        ([SAMPLE], {"iterations": 5}, "iterations 5, got 10"),
        ([SAMPLE], {"prune": 0}, "prune"),
        ([SAMPLE], {"spatial_sxy": 2}, "spatial"),
        ([SAMPLE], {"normalization": "symmetric"}, "normalization"),
        ([SAMPLE, SAMPLE], {}, "sha256"),
        ([(SAMPLE[0] + 1, *SAMPLE[1:])], {}, "sha256"),
        ([(SAMPLE[0], SAMPLE[1] * 0.9, SAMPLE[2])], {}, "sha256"),
        ([SAMPLE], {"identity": {"list": "val"}}, "list 'val', got None"),
    ],
)
def test_a_table_of_another_search_is_refused_and_kept(landscape, tmp_path, samples, options, key):
    search([SAMPLE], **GRID, table=tmp_path / "t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    with pytest.raises(
        InputError, match=rf"t.csv: of another search: expected {key}.*choose another file or delete it"
    ):
        search(samples, **GRID, **options, table=tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_foreign_table_is_refused_before_a_network_is_asked(tmp_path):
    class Expensive:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise AssertionError("asked")

    (tmp_path / "t.csv").write_text('# {"images": 3}\nweight,sxy,srgb,mean_iou\n')
    with pytest.raises(InputError, match="of another search"):
        search(Expensive(), table=tmp_path / "t.csv", identity={"list": "val"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a table of trials"),
        (b"name,age\nx,3\n", "expected a table of trials"),
        (b'# {"images": 3}\n', "expected a table of trials"),
        (b"# 3\nweight,sxy,srgb,mean_iou\n", "expected a table of trials"),
        (b"\x89PNG\xff\n", "cannot be read as a table"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\n3,4,5\n', "line 3: expected .*got '3,4,5'"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\n3,4,5,x\n', "line 3"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\n3,4,5,0.5\n3,-4,5,0.5\n', "line 4"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\n3,4,5,55.9\n', "line 3"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\nnan,4,5,0.5\n', "line 3"),
        (b'# {"images": 3}\nweight,sxy,srgb,mean_iou\n\n', "line 3"),
    ],
)
def test_damaged_tables_are_one_line_and_stay_as_they_are(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        TrialTable(path, {"images": 3})
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_found_before_the_first_trial(landscape, tmp_path):
    with pytest.raises(InputError, match="nowhere.t.csv: cannot be written"):
        search([SAMPLE], **GRID, table=tmp_path / "nowhere" / "t.csv")
    assert not landscape
    with pytest.raises(InputError, match="cannot be read"):
        search([SAMPLE], **GRID, table=tmp_path)


@pytest.mark.parametrize("head", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000])
def test_a_head_that_is_nested_too_deep(tmp_path, head):
    path = tmp_path / "trials.csv"
    path.write_text(f"# {head}\nweight,sxy,srgb,mean_iou\n")
    with pytest.raises(InputError, match=r"trials\.csv: expected a table of trials"):
        TrialTable(path, {})


def test_a_table_of_more_than_a_million_trials(tmp_path):
    path = tmp_path / "trials.csv"
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(InputError, match="a table of trials of up to"):
        TrialTable(path, {})
