"""What a command leaves in a folder, and whether it is whole."""

import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Contents = dict[str, bytes]

# Differs from run to run by its nature: locks, TensorBoard's events, pictures of curves with the time in them.
UNLIKE = re.compile(r"(^|/)(\.lock|tensorboard/.*|curves\.png)$")


def contents(folder: Path) -> Contents:
    """Return all files below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def comparable(name: str, content: bytes) -> Any:
    """Return what two runs of the same command must agree in: all but times."""
    if UNLIKE.search(name):
        return None
    if name.endswith(".tgz"):
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    if name.endswith(".html"):
        return content.count(b"<tr"), content.rstrip().endswith(b"</html>")
    if name.endswith("scores.json"):
        document = json.loads(content)
        return {key: value for key, value in document.items() if key != "run"}
    if name.endswith("log.csv"):
        return [line.split(b",")[:3] for line in content.split(b"\n")]  # step, loss, rate
    return content


def is_part(name: str, content: bytes, whole: bytes) -> bool:
    """Whether a table that grows line by line is the first lines of the whole one."""
    if not name.endswith(".csv"):
        return False
    lines = content[: content.rfind(b"\n") + 1]
    ours, theirs = comparable(name, lines), comparable(name, whole)
    return whole.startswith(lines) if isinstance(ours, bytes) else ours[:-1] == theirs[: len(ours) - 1]


@dataclass(frozen=True)
class Expected:
    """The files of an uninterrupted run."""

    files: Contents

    def check_so_far(self, folder: Path, after: object) -> None:
        """Hold each file at its final name to be whole, whatever has ended the run."""
        for name, content in contents(folder).items():
            if any(part.startswith(".") for part in name.split("/")) or UNLIKE.search(name):
                continue
            if name.startswith("_bulk/"):  # records, which only `atrous bulk` reads
                continue
            assert name in self.files, f"{name} is no output; {after}"
            whole = self.files[name]
            same = comparable(name, content) == comparable(name, whole)
            assert same or is_part(name, content, whole), f"{name} is not whole ({len(content)} bytes); {after}"

    def check_all(self, folder: Path, after: object) -> None:
        """Hold a folder to have the same files as after an uninterrupted run, and nothing else."""
        found = contents(folder)
        names, expected = (sorted(_timeless(name) for name in files) for files in (found, self.files))
        assert set(names) == set(expected), f"files differ: {sorted(set(names) ^ set(expected))}; {after}"
        for name, content in found.items():
            if name in self.files and not name.startswith("_bulk/"):
                assert comparable(name, content) == comparable(name, self.files[name]), f"{name} differs; {after}"


def _timeless(name: str) -> str:
    """Return a name without what is made of the time."""
    return re.sub(r"tensorboard/.*", "tensorboard/*", name)
