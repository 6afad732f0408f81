"""Signed ids by which the Jupyter server serves the images that a kernel has shown.

A kernel and the Jupyter server of one user share the runtime folder, and in it a key that nobody
else can read. An id is the path of an image, signed with that key: the server serves what a kernel
of the same user has shown, and no path can be made up.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import sys
from pathlib import Path

from fooocus_nb.engine.folders import runtime_folder
from fooocus_nb.errors import EngineError
from fooocus_nb.fooocus.plain_files import read_plain_file

__all__ = ["MAX_ID", "grant", "granted"]

KEY_NAME = "images.key"
KEY_BYTES = 32
#: Of a signature; it is far beyond guessing.
SIGNATURE_BYTES = 16
MAX_PATH = 4096
#: The longest id.
MAX_ID = 6000


def grant(path: Path) -> str:
    """Return the id by which the Jupyter server serves an image; empty where none can be had."""
    name = os.fsencode(path.absolute())
    if len(name) > MAX_PATH:
        return ""
    try:
        key = _key()
    except (OSError, EngineError):
        return ""
    return base64.urlsafe_b64encode(_signature(key, name) + name).decode("ascii").rstrip("=")


def granted(identity: str) -> Path | None:
    """Return the path of an id; None for one that no kernel of this user has given."""
    if len(identity) > MAX_ID or not identity.isascii():
        return None
    try:
        data = base64.b64decode(
            identity + "=" * (-len(identity) % 4), altchars=b"-_", validate=True
        )
        key = _key()
    except (binascii.Error, OSError, ValueError, EngineError):
        return None
    signature, name = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    if not name or not hmac.compare_digest(signature, _signature(key, name)):
        return None
    return Path(os.fsdecode(name))


def _signature(key: bytes, name: bytes) -> bytes:
    return hmac.digest(key, name, hashlib.sha256)[:SIGNATURE_BYTES]


def _key() -> bytes:
    """Return the user's key, which is made with its first use."""
    path = runtime_folder() / KEY_NAME
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    draft = path.with_name(f".{KEY_NAME}-{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):  # another kernel came first: its key counts
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    status = path.lstat()
    ours = sys.platform == "win32" or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    if not stat.S_ISREG(status.st_mode) or not ours:
        msg = f"{path} is not this user's own"
        raise PermissionError(msg)
    key = read_plain_file(path, KEY_BYTES)
    if len(key) != KEY_BYTES:
        msg = f"{path} is no key"
        raise PermissionError(msg)
    return key
