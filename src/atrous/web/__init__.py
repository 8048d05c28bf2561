"""Web page and HTTP interface of `atrous serve`; needs the extra `web`."""

from .config import ServerSettings
from .server import Application, Server

__all__ = ["Application", "Server", "ServerSettings"]
