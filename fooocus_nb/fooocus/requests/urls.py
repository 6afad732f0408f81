"""Pictures behind a web address: refused, unless the user allows it."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, NoReturn

from fooocus_nb.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import httpx

    #: Returns the bytes behind an address; the first argument is the parameter that they are for.
    Fetch = Callable[[str, str], bytes]

__all__ = ["download", "is_url", "refuse_url"]

MAX_BYTES = 64 * 2**20
TIMEOUT = 30.0
MAX_REDIRECTS = 5
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(value: Any) -> bool:
    """Return whether a value is text that begins as a web address does."""
    return isinstance(value, str) and _URL.match(value) is not None


def refuse_url(name: str, url: str) -> NoReturn:
    """Refuse to fetch anything.

    Parameters
    ----------
    name : str
        The parameter it is for.
    url : str
        The address.

    Raises
    ------
    ParameterError
        Always, with how to allow it.
    """
    msg = (
        f"{name}={_short(url)!r} is a web address, and nothing is fetched from the network unless "
        "you allow it: set engine.allow_urls = True, or save the picture and give its path."
    )
    raise ParameterError(msg)


def download(name: str, url: str, *, private: bool = False) -> bytes:
    """Fetch a picture.

    Parameters
    ----------
    name : str
        The parameter it is for, for messages.
    url : str
        An address of the scheme ``http`` or ``https``.
    private : bool
        Whether this machine and private networks may be asked as well. Default False.

    Returns
    -------
    bytes
        What is there, 64 MiB at the most.

    Raises
    ------
    ParameterError
        When it cannot be had, or an address on the way is not to be asked.
    """
    import httpx

    try:
        with httpx.Client(timeout=TIMEOUT) as client:
            target = httpx.URL(url)
            for _ in range(MAX_REDIRECTS + 1):
                _check_address(name, target, private)
                with client.stream("GET", target) as answer:
                    if answer.has_redirect_location:
                        target = target.join(answer.headers["location"])
                        continue
                    answer.raise_for_status()
                    return _limited(name, url, answer)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        msg = f"{name}={_short(url)!r} cannot be fetched: {error}."
        raise ParameterError(msg) from error
    msg = f"{name}={_short(url)!r} cannot be fetched: it leads on and on."
    raise ParameterError(msg)


def _limited(name: str, url: str, answer: httpx.Response) -> bytes:
    data = bytearray()
    for part in answer.iter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            msg = f"{name}={_short(url)!r} is larger than {MAX_BYTES // 2**20} MiB."
            raise ParameterError(msg)
    return bytes(data)


def _check_address(name: str, url: httpx.URL, private: bool) -> None:
    """Refuse other schemes, and hosts that only this machine or its network knows."""
    if url.scheme not in ("http", "https"):
        msg = f"{name}={_short(str(url))!r}: only http and https can be fetched."
        raise ParameterError(msg)
    if private:
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    for *_, address in socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM):
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        if not (mapped or found).is_global:
            msg = (
                f"{name}={_short(str(url))!r} is on this machine or in a private network, which "
                "is not asked unless you allow it: set engine.allow_private_urls = True."
            )
            raise ParameterError(msg)


def _short(url: str) -> str:
    return url if len(url) <= 100 else url[:97] + "..."
