"""Passwords and tokens are masked wherever something is shown or written."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "MASK",
    "redact",
    "redact_words",
    "remember_address",
    "remember_environment",
    "remember_secret",
    "secrets_in",
    "signs",
]

MASK = "***"
#: Shorter ones are parts of common words; masking them would spoil texts and hide nothing.
MIN_SECRET = 4
#: What a text has at least one of where it holds a secret in a known form. Looking for these first
#: keeps a flood of log lines cheap.
_SIGNS = (
    *("@", "auth", "pass", "secret", "token", "api", "key", "signature", "credential"),
    *("sig=", "bearer", "hf_", "gh", "glpat-", "sk-", "eyj"),
)
#: The same, longer, where a look at every byte that an engine prints must cost little.
SURE_SIGNS = (
    *("@", "auth", "passw", "passphrase", "secret", "token", "api_key", "api-key", "apikey"),
    *("access_key", "access-key", "accesskey", "private_key", "signature=", "sig=", "credential"),
    *("bearer", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-"),
    "eyj",
)
#: What our own advice says in the place of a login: masked, it would explain nothing.
_EXAMPLE = r"(?!user:secret(?:[\s\"']|$))"
_NAMES = (
    r"(?:auth|password|passwd|passphrase|secret|token|(?:api|access|private)[-_]?key"
    r"|credentials?|signature)"
)
_FORMS = (
    # user:password@host
    (re.compile(r"(?<=://)[^\s/?#'\"<>]+@"), f"{MASK}@"),
    (re.compile(r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?)(?:\w+\s+)?[^\s\"',]+"), rf"\1{MASK}"),
    (re.compile(r"\b([Bb]earer\s+)[\w+/=.~-]{16,}"), rf"\1{MASK}"),
    # auth=("user", "secret")
    (re.compile(r"(?i)(\bauth\s*=\s*)\((?!\"user\", \"secret\"\))[^()]*\)"), rf"\1{MASK}"),
    # --hf-token secret, also as the words of a list
    (
        re.compile(
            rf"(?i)(--[\w-]*{_NAMES}(?:[\"']\s*,\s*[\"']|\s*=\s*|\s+))(?!-){_EXAMPLE}[^\s\"']+"
        ),
        rf"\1{MASK}",
    ),
    # "password": "secret"
    (re.compile(rf"(?i)([\"'][\w-]*{_NAMES}[\"']\s*:\s*[\"'])[^\"']+"), rf"\1{MASK}"),
    # HF_TOKEN=secret, ?token=secret
    (
        re.compile(rf"(?i)((?<!-)\b[\w-]*{_NAMES}=[\"']?){_EXAMPLE}[^\s\"'&,;(){{}}\[\]<>]+"),
        rf"\1{MASK}",
    ),
    # An address that is signed, as storage services give them out.
    (re.compile(r"(?i)([?&](?:sig|key)=)[^\s\"'&<>]+"), rf"\1{MASK}"),
    # What services give out.
    (re.compile(r"\b(?:hf_|gh[opusr]_|github_pat_|glpat-|sk-)[\w-]{16,}"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
)
_OPTION = re.compile(rf"(?i)--?[\w-]*{_NAMES}")
_LOGIN_IN_ADDRESS = re.compile(r"://([^\s/?#'\"<>]+)@")
#: How the variables are called that hold a secret by itself, and what they hold where they hold
#: none: a switch, or where a secret is.
_VARIABLE = re.compile(rf"(?i)(?:\w*_)?{_NAMES}")
_NO_SECRET = re.compile(
    r"(?i)true|false|none|null|default|enabled?|disabled?|required|optional|\W*|[/~.].*|\w:[\\/].*"
)
#: Nobody has told us of those, so a short one may be any word.
MIN_FROM_ENVIRONMENT = 8

_lock = threading.Lock()
_remembered: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember_secret(secret: str) -> None:
    """Mask a password from now on, wherever it stands by itself."""
    global _pattern
    if len(secret) < MIN_SECRET:
        return
    with _lock:
        _remembered.update(_spellings(secret))
        # The longest first: one may begin another.
        words = sorted(_remembered, key=len, reverse=True)
        _pattern = re.compile("|".join(map(_by_itself, words)))


def _spellings(secret: str) -> set[str]:
    """Return how a secret may stand in addresses, in JSON, in HTML and in Python."""
    if secret.isascii() and secret.replace("-", "a").isalnum():
        return {secret}
    # The guardian, which is to be small, has most of these for nothing.
    import json
    from html import escape
    from urllib.parse import quote, quote_plus

    plain = secret.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return {
        *(secret, plain, quote(plain), quote(plain, safe=""), quote_plus(plain)),
        *(json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]),
        *(escape(secret), repr(secret)[1:-1]),
    }


def _by_itself(word: str) -> str:
    """Return the pattern of a word that is no part of a longer one."""
    before = r"(?<!\w)" if word[0].isalnum() or word[0] == "_" else ""
    behind = r"(?!\w)" if word[-1].isalnum() or word[-1] == "_" else ""
    return f"{before}{re.escape(word)}{behind}"


def remember_environment(environment: Mapping[str, str]) -> None:
    """Mask the passwords and tokens among environment variables from now on."""
    for name, value in environment.items():
        if login := _LOGIN_IN_ADDRESS.search(value):
            user, colon, password = login[1].partition(":")
            remember_secret(password if colon else user)
        elif _VARIABLE.fullmatch(name) and _NO_SECRET.fullmatch(value) is None:
            for secret in (value, value.partition(":")[2]):  # there may be a user before it
                if len(secret) >= MIN_FROM_ENVIRONMENT:
                    remember_secret(secret)


def remember_address(address: str) -> None:
    """Mask the login and the query of an address from now on.

    A token may be the user's name, or a part of the query that is called anything.
    """
    from urllib.parse import urlsplit  # the guardian, which is to be small, needs it for nothing

    try:
        parts = urlsplit(address)
        secrets = (parts.username, parts.password, parts.query)
    except ValueError:  # no address that anything could be fetched from
        return
    for secret in filter(None, secrets):
        remember_secret(secret)


def signs() -> tuple[str, ...]:
    """Return what a text has at least one of, in any case, where it surely holds a secret."""
    with _lock:
        return (*SURE_SIGNS, *(secret.lower() for secret in _remembered))


def redact(text: str) -> str:
    """Return a text with its passwords and tokens masked."""
    folded = text.lower()
    if any(sign in folded for sign in _SIGNS):
        for form, mask in _FORMS:
            text = form.sub(mask, text)
    pattern = _pattern
    return text if pattern is None else pattern.sub(MASK, text)


def redact_words(words: Sequence[str]) -> list[str]:
    """Return a command line with its passwords and tokens masked."""
    found = []
    hide = False
    for word in words:
        found.append(MASK if hide and not word.startswith("-") else redact(word))
        hide = _OPTION.fullmatch(word) is not None
    return found


def secrets_in(words: Sequence[str]) -> dict[str, str]:
    """Return the secrets on a command line, by the options that they stand behind."""
    found: dict[str, str] = {}
    option = "an address"
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, equals, value = word.partition("=")
        option = name if name.startswith("-") else option
        if _OPTION.fullmatch(name):
            value = value if equals else following
            if value and (equals or not value.startswith("-")):
                found[name] = value
        elif login := _LOGIN_IN_ADDRESS.search(word):
            user, colon, password = login[1].partition(":")
            found[option] = password if colon else user
    return found
