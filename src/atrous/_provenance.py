"""Versions, machine and git revision for the record of a result."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ._resources import processors


def own_version() -> str:
    """Return the installed version of this package; "unknown" in a source tree."""
    return versions(["atrous"])["atrous"]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of installed packages; "unknown" for packages that are not installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> str:
    """Return the processor's name, the number of usable cores and the operating system."""
    cores = processors()
    return f"{processor()}, {cores} core{'s' if cores != 1 else ''}, {platform.system()}"


def git_revision() -> str | None:
    """Return the hash of the current commit, with "-dirty" for uncommitted changes; None for an installed package."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # Fails for a package in site-packages inside another repository, whose revision git would return.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        revision = git("describe", "--always", "--abbrev=40", "--exclude=*")
        # describe --dirty would rewrite the clone's index.
        return f"{revision}-dirty" if git("status", "--porcelain", "--untracked-files=no") else revision
    except (OSError, subprocess.SubprocessError):
        return None
