"""Who logs in at a server: a user and a password, which are never shown."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from fooocus_nb._secrets import remember_secret
from fooocus_nb.errors import ConfigurationError

__all__ = ["LOGIN_VARIABLE", "Login", "login_from_environment", "parse_login", "split_login"]

#: Holds ``user:secret`` for servers that want a login.
LOGIN_VARIABLE = "FOOOCUS_NB_AUTH"


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password."""

    user: str = field(repr=False)
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        remember_secret(self.secret or self.user)  # a token may be the user's name
        remember_secret(self.basic.partition(" ")[2])

    @property
    def basic(self) -> str:
        """The header of HTTP basic authentication."""
        both = f"{self.user}:{self.secret}".encode("utf-8", "surrogatepass")
        return f"Basic {base64.b64encode(both).decode()}"


def parse_login(given: object, name: str = "auth") -> Login:
    """Return the login in ``("user", "secret")`` or ``"user:secret"``."""
    if isinstance(given, str):
        user, colon, secret = given.partition(":")
        parts: tuple[object, ...] = (user, secret) if colon else ()
    else:
        parts = tuple(given) if isinstance(given, tuple | list) else ()
    match parts:
        case (str(user), str(secret)) if user and secret:
            return Login(user, secret)
    form = '("user", "secret")' if name == "auth" else "user:secret"
    msg = f"{name} holds no user and password that can be used: give it as {form}."
    raise ConfigurationError(msg)


def login_from_environment() -> Login | None:
    """Return the login that the environment names; None where it names none."""
    given = os.environ.get(LOGIN_VARIABLE)
    return parse_login(given, LOGIN_VARIABLE) if given else None


def split_login(url: str) -> tuple[str, Login | None]:
    """Return an address without user and password, and the login that they are."""
    if not isinstance(url, str):
        msg = f"An address is a text such as http://127.0.0.1:7865, and no {type(url).__name__}."
        raise ConfigurationError(msg)
    given = url.strip()
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        user, secret = parts.username, parts.password
    except ValueError:
        return url, None  # whoever uses it says that it is no address
    if "@" not in parts.netloc:
        return url, None
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return bare, Login(unquote(user or ""), unquote(secret or "")) if user or secret else None
