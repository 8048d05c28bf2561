import socket

import pytest

from atrous.cli.serve import address_of, listen
from atrous.errors import InputError


def places(*addresses):
    def getaddrinfo(host, port, **_):
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in addresses]

    return getaddrinfo


def test_a_name_s_first_address_that_works_is_taken(monkeypatch):
    found = places((socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "127.0.0.1"))
    monkeypatch.setattr(socket, "getaddrinfo", found)
    with listen("localhost", 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_machine_without_ipv6_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", places((9999, "::1")))  # a family that no machine has
    with pytest.raises(InputError, match=r"^::1:7860: address family not supported.*; choose another"):
        listen("::1", 7860)


def test_two_servers_on_one_port():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"^127.0.0.1:{port}: address already in use"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (("127.0.0.1", 80), "localhost:80"),
        (("::", 80, 0, 0), "localhost:80"),
        (("192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", 80, 0, 0), "[2001:db8::1]:80"),
    ],
)
def test_the_address_that_is_said(place, address):
    assert address_of(place) == address
