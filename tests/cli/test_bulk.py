"""The command, on a cluster of this machine where it needs one."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")


def bulk(*arguments, env=None, **how):
    command = [sys.executable, "-c", "import atrous.cli; atrous.cli.main()", "bulk", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, **how)


@pytest.mark.slow
def test_photos_to_masks_and_a_rerun(tmp_path, tiny_model, red_square):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.fromarray(red_square).save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    given = (tmp_path / "in", tmp_path / "out", "--model", tiny_model, "--shard-size", "2", "--actors", "1")
    done = bulk(*given)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{tmp_path / 'out'}: 4 done, 0 skipped, 1 failed; ")
    last = done.stderr.splitlines()[-1]  # on a slow machine, lines of progress come first
    assert last == f"error: 1 images failed; see {tmp_path / 'out/errors.csv'}"
    (tmp_path / "in/bad.png").unlink()
    done = bulk(*given)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'out'}: 0 done, 4 skipped, 0 failed\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none", "out"], "error: none: no such file or folder"),
        (["empty", "out"], "error: empty: nothing to segment"),
        (["in", "out", "--to", "zip"], "error: --to 'zip': expected one of png, parquet, tar"),
        (["in", "out", "--cpus", "0"], "error: --cpus 0: expected at least 1 for an actor"),
        (["in", "in/x.png"], "error: {cwd}/in/x.png: cannot be written"),
        (["table.parquet", "out", "--column", "jpg"], "error: table.parquet: none of its 1 parquet files can be used"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, arguments, says, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from typer.testing import CliRunner

    from atrous.cli import app
    from atrous.errors import InputError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.png").write_bytes(b"")
    pq.write_table(pa.table({"png": [b""]}), tmp_path / "table.parquet")
    result = CliRunner().invoke(app, ["bulk", *arguments])
    assert isinstance(result.exception, InputError)
    message = f"error: {result.exception}"
    assert message.startswith(says.format(cwd=tmp_path))
    assert "\n" not in message


def test_without_ray_the_command_says_which_extra_to_install(tmp_path):
    for hidden in ("ray", "pyarrow", "fsspec"):
        folder = tmp_path / hidden
        (folder / hidden).mkdir(parents=True)
        (folder / hidden / "__init__.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{hidden}'\", name='{hidden}')"
        )
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in/x.png").write_bytes(b"")
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = bulk(tmp_path / "in", tmp_path / "out", env={"PYTHONPATH": path})
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {hidden} is not installed")
        assert "extra 'bulk'" in done.stderr
        assert done.stderr.count("\n") == 1
