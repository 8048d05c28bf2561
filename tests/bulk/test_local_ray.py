"""Nobody but this user reaches a local cluster."""

import ipaddress
import os
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ray = pytest.importorskip("ray")

from atrous.bulk import _local_ray
from atrous.bulk._local_ray import check_loopback, private_folder, ray_folder, this_machine_alone
from atrous.bulk.ray_cluster import Actors, connected
from atrous.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")

STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)
except Exception as error:
    print(type(error).__name__)
else:
    print("let in")
"""


def sockets():
    """Addresses on which this process and its children listen for TCP or receive UDP."""
    here = psutil.Process()
    found = []
    for process in [here, *here.children(recursive=True)]:
        for one in process.net_connections("inet"):
            if one.status == psutil.CONN_LISTEN or (not one.raddr and one.type == 2):
                address = ipaddress.ip_address(one.laddr.ip)
                found.append(getattr(address, "ipv4_mapped", None) or address)
    return found


def strangers(address, *environments):
    """Return what the cluster at an address answers to processes with these environment variables."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", STRANGER, address]
    started = [
        subprocess.Popen(command, env={**cleared, **each}, stdout=subprocess.PIPE, text=True) for each in environments
    ]
    return [process.communicate(timeout=120)[0].strip() for process in started]


def test_a_local_cluster_is_this_users_alone(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert not sockets()
    with connected(None, Actors(1)):
        assert (found := sockets())
        assert {str(address) for address in found if not address.is_loopback} == set()
        folder = Path(ray._private.worker._global_node.get_session_dir_path()).parent
        if os.name != "nt":
            assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
            assert folder.parent.stat().st_uid == os.getuid()
        address = ray.get_runtime_context().gcs_address
        token = os.environ["RAY_AUTH_TOKEN"]
        with_token, with_another, without = strangers(
            address,
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            {"RAY_AUTH_MODE": "disabled"},
        )
        assert with_token == "let in"
        assert "Auth" in with_another
        assert "Auth" in without
    assert not folder.parent.exists()
    assert list((tmp_path / "home").iterdir()) == []
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_the_environment_and_ray_are_put_back(monkeypatch):
    from ray._private import ray_constants, services

    def state():
        values = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        return values, ray_constants.ENABLE_RAY_CLUSTER, services.start_api_server

    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    before, tokens = state(), set()
    for _ in range(2):
        with suppress(KeyError), this_machine_alone():
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
            assert state()[1:] != before[1:]
            raise KeyError
        assert state() == before
    assert len(tokens - {"mine"}) == 2
    assert min(map(len, tokens)) == 64


@pytest.mark.parametrize("name", ["ray_constants.ENABLE_RAY_CLUSTER", "services.start_api_server"])
def test_a_ray_that_cannot_be_kept_here_is_not_started(monkeypatch, name):
    monkeypatch.delattr(f"ray._private.{name}")
    before = dict(os.environ)
    with pytest.raises(InputError, match=f"ray {ray.__version__}: .*{name.split('.')[1]}"), this_machine_alone():
        pass
    assert dict(os.environ) == before


def test_a_cluster_that_other_machines_reach_is_refused():
    check_loopback([{"NodeManagerAddress": "127.0.0.1"}, {"NodeManagerAddress": "::1"}])
    with pytest.raises(InputError, match=r"192\.0\.2\.1: expected .* loopback"):
        check_loopback([{"NodeManagerAddress": "127.0.0.1"}, {"NodeManagerAddress": "192.0.2.1"}])


@pytest.mark.skipif(os.name == "nt", reason="Ray has no sockets in files on Windows")
def test_a_long_temporary_folder(tmp_path, monkeypatch):
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(short))
        with private_folder(sockets=True) as folder:
            assert folder.parent == short
            room = _local_ray._LONGEST_SOCKET - len(os.fsencode(ray_folder(folder) + _local_ray._SOCKET))
            assert room > 0
        for more, place in [(room, short), (room + 1, Path("/tmp"))]:
            long = short.with_name(short.name + "x" * more)
            long.mkdir()
            monkeypatch.setattr(tempfile, "tempdir", str(long))
            with private_folder(sockets=False) as folder:
                assert folder.parent == long
            with private_folder(sockets=True) as folder:
                assert folder.parent == (long if place == short else place)
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            if place != short:
                monkeypatch.setattr(_local_ray, "_SHORT_FOLDER", str(tmp_path / "missing"))
                limit = len(str(long)) - 1
                with pytest.raises(InputError, match=f"{long}: .* at most {limit} bytes.* TMPDIR"):
                    private_folder(sockets=True).__enter__()
            long.rmdir()
    finally:
        short.rmdir()
