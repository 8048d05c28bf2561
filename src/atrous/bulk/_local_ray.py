"""A Ray cluster of this machine and this user alone: loopback addresses, a token, a private folder."""

import ipaddress
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError

# The longest path that Ray appends to its temporary folder, and the longest path of a socket that the system takes.
_SOCKET = "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_SHORT_FOLDER = "/tmp"


@contextmanager
def private_folder(*, sockets: bool) -> Iterator[Path]:
    """Yield a temporary folder that no other user can enter, and delete it afterward.

    Parameters
    ----------
    sockets : bool
        Whether a local cluster puts its sockets there. If so and the path of the usual temporary folder is too long
        for them, as it is on macOS, the folder is made in /tmp.

    Raises
    ------
    InputError
        If the path is too long and /tmp cannot be used.
    """
    parent = _parent() if sockets else None
    with tempfile.TemporaryDirectory(prefix="atrous-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def ray_folder(folder: Path) -> str:
    """Return Ray's folder below a private one: Ray opens its own to every user (mode 0777)."""
    return str(folder / "r")


@contextmanager
def this_machine_alone() -> Iterator[None]:
    """Let `ray.init("local")` listen on loopback addresses, ask for a new token, and look nothing up elsewhere.

    Ray takes neither of the first two from arguments: it replaces _node_ip_address="127.0.0.1" by the address that
    leads to the internet unless clusters are disabled, as they are on macOS and Windows, and reads its token from the
    environment. Without a dashboard it still starts the dashboard's process to report usage, which asks the metadata
    servers of three clouds even where usage reports are disabled; that process is left out.

    Raises
    ------
    InputError
        If the installed Ray has none of the places where this is set.
    """
    import ray

    environment = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # read on Linux, too
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # before RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token
    }
    with ExitStack() as stack:
        try:
            from ray._private import ray_constants, services

            stack.enter_context(_replaced(vars(ray_constants), "ENABLE_RAY_CLUSTER", False))
            stack.enter_context(_replaced(vars(services), "start_api_server", _no_api_server))
            _read_token_again()  # fails here, if it does, rather than in the end
            stack.callback(_read_token_again)
            for name, value in environment.items():
                stack.enter_context(_replaced(os.environ, name, value))
            _read_token_again()
        except (ImportError, AttributeError, KeyError) as error:
            raise InputError(
                f"ray {ray.__version__}: cannot be kept to this machine ({error!r}); install a version that"
                " pip install 'atrous[bulk]' takes, or give the address of a cluster"
            ) from None
        yield


def check_loopback(nodes: list[dict[str, Any]]) -> None:
    """Raise InputError if a node of a local cluster listens to other machines."""
    for node in nodes:
        address = node["NodeManagerAddress"]
        if not ipaddress.ip_address(address).is_loopback:
            raise InputError(f"{address}: expected Ray to listen on a loopback address of this machine")


def _parent() -> str:
    usual = tempfile.gettempdir()
    longest = _LONGEST_SOCKET - len(ray_folder(Path("/atrous-12345678")) + _SOCKET)
    if os.name == "nt" or len(os.fsencode(usual)) <= longest:
        return usual
    if os.access(_SHORT_FOLDER, os.W_OK | os.X_OK):
        return _SHORT_FOLDER
    raise InputError(
        f"{usual}: expected a temporary folder whose path has at most {longest} bytes, for Ray's sockets, got"
        f" {len(os.fsencode(usual))}; set TMPDIR to a shorter one"
    )


@contextmanager
def _replaced(values: Any, name: str, value: Any) -> Iterator[None]:
    """Replace one value of a dictionary, and put the old one back."""
    missing = object()
    # What a module lacks, Ray has renamed; an environment variable may be missing.
    before = values.get(name, missing) if values is os.environ else values[name]
    values[name] = value
    try:
        yield
    finally:
        if before is missing:
            values.pop(name, None)
        else:
            values[name] = before


def _no_api_server(*_: Any, **__: Any) -> tuple[None, None]:
    """Return what Ray gets for a dashboard that did not start: no address, no process."""
    return None, None


def _read_token_again() -> None:
    """Drop the token and the mode that this process has read from its environment."""
    import ray._raylet

    raylet: Any = ray._raylet  # compiled, without types
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
