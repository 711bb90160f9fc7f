"""A connection to a web server: to whom one is made, and to whom none is."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from steelyard.errors import CheckpointError

_TO_CONNECT = 10.0
_PORTS = {"http": 80, "https": 443}
_PLAIN = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Target:
    """An address of the web, and what named it.

    Args:
        scheme: `http` or `https`.
        host: The name of the machine, or its number.
        port: Of that machine.
        place: The path there, with what is asked of it.
        login: What the server is told of who asks; empty if nothing.
        shown: What the user named, as an error may say it.
        first: Whether the user named it; otherwise a server sent us here.
    """

    scheme: str
    host: str
    port: int
    place: str
    login: str
    shown: str
    first: bool = True

    @classmethod
    def of(cls, url: str, shown: str) -> Target:
        """What a URL says.

        Raises:
            CheckpointError: It is no address of the web.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
            host = parts.hostname or ""
            host.encode("idna")
        except (ValueError, KeyError):  # UnicodeError is a ValueError
            host = ""
        if not host:
            raise CheckpointError(f"{shown}: is no address of the web")
        place = quote(parts.path or "/", safe=_PLAIN)
        if parts.query:
            place += "?" + quote(parts.query, safe=_PLAIN + "/?[]")
        return cls(parts.scheme, host, port, place, _login(parts), shown)

    @property
    def url(self) -> str:
        """All of it, without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.place}"

    def moved(self, where: str | None, named: Target) -> Target:
        """Where a server sends us instead.

        Raises:
            CheckpointError: It is no address of the web, or one that others could read.
        """
        url = urljoin(self.url, where or "")
        if not where or urlsplit(url).scheme not in _PORTS:
            raise CheckpointError(
                f"{self.shown}: the server sends on to a place that is no address of the web; it "
                f"was not followed"
            )
        found = Target.of(url, self.shown)
        if (self.scheme, found.scheme) == ("https", "http"):
            raise CheckpointError(
                f"{self.shown}: the server sends on from https to http, where others could read "
                f"and change what comes; it was not followed"
            )
        same = found.host == named.host and found._known_port == named._known_port
        login = named.login if same else ""
        return Target(found.scheme, found.host, found.port, found.place, login, self.shown, same)

    @property
    def _known_port(self) -> int:
        return 0 if self.port == _PORTS[self.scheme] else self.port


class Line:
    """An open connection.

    Args:
        target: To whom; one place of that machine, others may follow.
        seconds: How long to wait for each piece of an answer.
    """

    def __init__(self, target: Target, seconds: float) -> None:
        self._origin = (target.scheme, target.host, target.port)
        proxy = _proxy(target)
        self._whole = proxy is not None and target.scheme == "http"
        self._headers: dict[str, str] = {}
        kind: Any = http.client.HTTPConnection
        told: dict[str, Any] = {"timeout": seconds}
        if target.scheme == "https":
            kind, told["context"] = http.client.HTTPSConnection, _trust()
        if proxy is None:
            self._connection = kind(target.host, target.port, **told)
            self._connection.sock = _socket(target, seconds)
        else:
            self._connection = kind(proxy.hostname, proxy.port or 80, **told)
            login = {"Proxy-Authorization": _login(proxy)} if proxy.username else {}
            if target.scheme == "https":
                self._connection.set_tunnel(target.host, target.port, headers=login)
            else:
                self._headers = login
            self._connection.connect()
        # Not once more by itself: that would go to whoever has the name then.
        self._connection.auto_open = 0

    def leads_to(self, target: Target) -> bool:
        """Whether it is one to this machine."""
        is_open = self._connection.sock is not None
        return is_open and self._origin == (target.scheme, target.host, target.port)

    def ask(self, target: Target, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Asks for a place."""
        told = {"User-Agent": "steelyard", "Accept-Encoding": "identity"}
        told |= self._headers | headers
        if target.login:
            told["Authorization"] = target.login
        place = target.url if self._whole else target.place
        self._connection.request("GET", place, headers=told)
        found: http.client.HTTPResponse = self._connection.getresponse()
        return found

    def break_off(self) -> None:
        """Ends it while somebody waits for an answer, who gets an error."""
        held = self._connection.sock
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it."""
        self._connection.close()


def _socket(target: Target, seconds: float) -> Any:
    """A socket that is connected to an address that has been looked at."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    if not target.first and not all(map(is_public, addresses)):
        raise CheckpointError(
            f"{target.shown}: the server sends on to {target.host!r:.100}, which is no public "
            f"address; it was not followed. If that is meant, name it yourself."
        )
    error: OSError | None = None
    for address in addresses:
        try:
            held = socket.create_connection((address, target.port), min(_TO_CONNECT, seconds))
        except OSError as failed:
            error = failed
            continue
        held.settimeout(seconds)
        if target.scheme == "http":
            return held
        try:
            return _trust().wrap_socket(held, server_hostname=target.host)
        except BaseException:
            held.close()
            raise
    raise error or OSError("it has no address")


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, not of a machine or network of our own."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    found = inner or found
    return found.is_global and not found.is_multicast


def _proxy(target: Target) -> SplitResult | None:
    """What the environment says is to be asked instead."""
    told = getproxies().get(target.scheme)
    if not told or proxy_bypass(f"{target.host}:{target.port}"):
        return None
    parts = urlsplit(told if "://" in told else f"http://{told}")
    if parts.scheme != "http":
        raise CheckpointError(
            f"{target.shown}: a proxy that is asked by {parts.scheme!r:.20} is not known"
        )
    return parts


def _login(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    text = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(text.encode()).decode()


@cache
def _trust() -> Any:
    import ssl

    return ssl.create_default_context()
