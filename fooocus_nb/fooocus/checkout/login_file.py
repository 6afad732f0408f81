"""The file ``auth.json`` of a checkout: with a user in it, Fooocus asks for a login."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.transport.login import Login

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AUTH_FILE", "logins_of"]

AUTH_FILE = "auth.json"
MAX_BYTES = 1_000_000
#: How many users are tried, each with a request.
MAX_USERS = 3


def logins_of(checkout: Path) -> list[Login]:
    """Return the users with a password that a checkout names; none where only a hash is kept."""
    try:
        content = json.loads(read_plain_file(checkout / AUTH_FILE, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    found = []
    for entry in content if isinstance(content, list) else ():
        if isinstance(entry, dict):
            user, secret = entry.get("user"), entry.get("pass")
            if isinstance(user, str) and isinstance(secret, str) and user and secret:
                found.append(Login(user, secret))
    return found[:MAX_USERS]
