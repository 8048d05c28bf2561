"""What a run was made with."""

import platform
import subprocess
from pathlib import Path

import torch

from .version import own_version


def versions() -> dict[str, str]:
    """Return the versions of atrous, Python and torch, and atrous' git revision where it runs from a clone."""
    found = {"atrous": own_version(), "python": platform.python_version(), "torch": torch.__version__}
    revision = _git_revision()
    return found | ({"git": revision} if revision else {})


def _git_revision() -> str | None:
    """Hash of the commit, with "-dirty" after it if files differ; None for an installed package."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # In site-packages inside somebody's repository the revision would be of that.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        revision = git("describe", "--always", "--abbrev=40", "--exclude=*")
        # describe --dirty would rewrite the clone's index.
        return f"{revision}-dirty" if git("status", "--porcelain", "--untracked-files=no") else revision
    except (OSError, subprocess.SubprocessError):
        return None
