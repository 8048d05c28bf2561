"""What the fuzzers of files have in common."""

import random
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from atrous.errors import ComputeError, InputError

# Writes spoiled files into an empty folder, reads them and checks what is read.
Case: TypeAlias = Callable[[random.Random, Path], object]

LONGEST = 3000  # characters of a message; some list a file's names


class Finding(AssertionError):
    """What should not have happened."""


def run(cases: Sequence[Case], seed: tuple[int, int]) -> str:
    """Run the case of a seed, whose number lets all take turns; returns "passed" or "refused: why".

    Raises
    ------
    Finding
        Whatever else is raised; the message names the case.
    """
    case = cases[seed[-1] % len(cases)]
    rng = random.Random(f"{case.__name__} {seed}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            case(rng, Path(folder))
        except (InputError, ComputeError) as error:
            if not 0 < len(str(error)) < LONGEST:
                raise Finding(f"{case.__name__}: a message of {len(str(error))} characters") from error
            return f"refused: {error}"
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            raise Finding(f"{case.__name__}: {type(error).__name__} at {place}: {str(error)[:200]}") from error
    return "passed"
