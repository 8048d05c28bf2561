"""A private local Ray cluster: loopback addresses, a token and a folder for this user alone."""

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

# The longest path that Ray appends to the folder, and the system's limit on the path of a socket.
_SOCKET = "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_SHORT_FOLDER = "/tmp"


@contextmanager
def private_folder(*, sockets: bool) -> Iterator[Path]:
    """Yield a temporary folder that no other user can enter, and delete it afterward.

    If a local cluster creates its sockets there and the path of the default temporary folder is too long, as on macOS,
    the folder is created in /tmp. Raises InputError if /tmp cannot be used either.
    """
    parent = tempfile.gettempdir()
    limit = _LONGEST_SOCKET - len(ray_folder(Path("/atrous-12345678")) + _SOCKET)
    if sockets and os.name != "nt" and (length := len(os.fsencode(parent))) > limit:
        if not os.access(_SHORT_FOLDER, os.W_OK | os.X_OK):
            raise InputError(
                f"{parent}: expected a temporary folder whose path has at most {limit} bytes, for Ray's sockets, got"
                f" {length}; set TMPDIR to a shorter one"
            )
        parent = _SHORT_FOLDER
    with tempfile.TemporaryDirectory(prefix="atrous-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def ray_folder(folder: Path) -> str:
    """Return a subfolder for Ray, which makes its own folder accessible to every user (mode 0777)."""
    return str(folder / "r")


@contextmanager
def this_machine_alone() -> Iterator[None]:
    """Make `ray.init("local")` listen on loopback addresses only, require a new token and contact no other server.

    Ray has no arguments for the addresses and the token. It replaces _node_ip_address="127.0.0.1" by the address of the
    default route unless clusters are disabled, as they are on macOS and Windows, and it reads the token from the
    environment. Even without a dashboard, Ray starts the dashboard's process to report usage. That process queries the
    metadata servers of three clouds even if usage reports are disabled, so it is not started here.

    Raises InputError if the installed version of Ray lacks the attributes to set.
    """
    import ray

    environment = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # also read on Linux
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # takes precedence over RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token
    }
    with ExitStack() as stack:
        try:
            from ray._private import ray_constants, services

            stack.enter_context(_replaced(vars(ray_constants), "ENABLE_RAY_CLUSTER", False))
            # The result for a dashboard that did not start: no address, no process.
            stack.enter_context(_replaced(vars(services), "start_api_server", lambda *_, **__: (None, None)))
            _read_token_again()  # so that it fails here rather than at the end
            stack.callback(_read_token_again)
            for name, value in environment.items():
                stack.enter_context(_replaced(os.environ, name, value))
            _read_token_again()
        except (ImportError, AttributeError, KeyError) as error:
            raise InputError(
                f"ray {ray.__version__}: cannot be limited to this machine ({error!r}); install a version that"
                " pip install 'atrous[bulk]' accepts, or pass the address of a cluster"
            ) from None
        yield


def check_loopback(nodes: list[dict[str, Any]]) -> None:
    """Raise InputError if a node of a local cluster listens on other addresses."""
    for address in (node["NodeManagerAddress"] for node in nodes):
        if not ipaddress.ip_address(address).is_loopback:
            raise InputError(f"{address}: expected Ray to listen on a loopback address of this machine")


@contextmanager
def _replaced(values: Any, name: str, value: Any) -> Iterator[None]:
    """Replace one value of a dictionary and restore the old one after the block."""
    # A missing attribute of a module means that Ray has renamed it. An environment variable may be missing.
    before = values.get(name) if values is os.environ else values[name]
    values[name] = value
    try:
        yield
    finally:
        if before is None:
            values.pop(name, None)
        else:
            values[name] = before


def _read_token_again() -> None:
    """Clear the token and the mode that this process has cached from its environment."""
    import ray._raylet

    raylet: Any = ray._raylet  # compiled, without types
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
