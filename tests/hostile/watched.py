"""Run a program without a network and record what it asks of one, and which files it creates.

Linux with strace. As a script, `python watched.py PROGRAM ...`: switch the loopback device on, then become PROGRAM.
"""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CALLS = "connect,sendto,sendmsg,sendmmsg,openat,?open,?creat,?mkdir,mkdirat"
DNS = (53, 5353)
# No other variables: many change where libraries write and whom they ask, and some report nothing where CI is set.
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
SYSTEM = ("/dev/", "/proc/", "/sys/")


@dataclass(frozen=True)
class Watched:
    """The end of a program.

    Attributes
    ----------
    status : int
    output : str
        Its standard output and error.
    asked : list of str
        Addresses outside this machine that it connected or sent to, and name servers anywhere.
    made : list of Path
        Files and folders that it created, but for those of the system.
    """

    status: int
    output: str
    asked: list[str]
    made: list[Path]


def environment(home: Path, temporary: Path) -> dict[str, str]:
    """Return an environment with these folders, and little else of this process'."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    homes = dict.fromkeys(("HOME", "USERPROFILE"), str(home))
    temporaries = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    return {**kept, **homes, **temporaries, "PYTHONDONTWRITEBYTECODE": "1"}


@cache
def can_watch() -> bool:
    """Return whether this system has what `watch` needs and lets it do so."""
    if not (sys.platform == "linux" and shutil.which("strace") and shutil.which("unshare")):
        return False
    tried = [*_alone(), "strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect", "-o", os.devnull, "true"]
    return subprocess.run(tried, capture_output=True).returncode == 0


def watch(command: list[str], folder: Path, environment: dict[str, str], trace: Path, *, seconds: float) -> Watched:
    """Run a command in a folder.

    Parameters
    ----------
    trace : Path
        File for strace's output.
    seconds : float
        How long the command may take.
    """
    strace = ["strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(trace)]
    done = subprocess.run(
        [*_alone(), *strace, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
    )
    lines = list(whole_lines(trace.read_text(errors="replace")))
    asked = [address for line in lines for address in asked_in(line)]
    made = [folder / path for line in lines for path in made_in(line)]
    return Watched(done.returncode, done.stdout, asked, made)


def whole_lines(trace: str) -> Iterator[str]:
    """Yield system calls; strace writes one in two lines where another process' comes between."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        process, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>")
        elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            yield begun.pop(process, "") + resumed[1]
        else:
            yield call
    yield from begun.values()


def asked_in(call: str) -> Iterator[str]:
    """Yield what a call asks outside this machine, and any name server that it asks."""
    if not re.match(r"connect|send", call):
        return
    if "io.systemd.Resolve" in call:
        yield "systemd's name server"
    address = r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"'
    ports = map(int, re.findall(r"sin6?_port=htons\((\d+)\)", call))
    for port, (four, six) in zip(ports, re.findall(address, call), strict=True):
        place = ipaddress.ip_address(four or six)
        place = getattr(place, "ipv4_mapped", None) or place
        if port in DNS or not place.is_loopback:
            yield f"{place}, port {port}"


def made_in(call: str) -> Iterator[Path]:
    """Yield the path that a call creates; a relative one is of the folder in which the program runs."""
    if opened := re.match(r"(open|openat|creat)\(.*\) = \d+<(.*)>$", call):
        if (opened[1] == "creat" or "O_CREAT" in call) and not opened[2].startswith(SYSTEM):
            yield Path(opened[2].removesuffix(" (deleted)"))
    elif folder := re.match(r'mkdir(?:at)?\((?:AT_FDCWD<(.*)>, )?"(.*)", \d+\) = 0$', call):
        yield Path(folder[1] or "", folder[2])


def _alone() -> list[str]:
    """Return the command that runs another one in a network of its own, which has a loopback device alone."""
    return ["unshare", "--net", "--map-root-user", sys.executable, __file__]


def _switch_on_loopback() -> None:
    import fcntl
    import socket
    import struct

    get, put, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, get, request))[1]
        fcntl.ioctl(any_socket, put, struct.pack("16sh14x", b"lo", flags | up))


if __name__ == "__main__":
    _switch_on_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])
