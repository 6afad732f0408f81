"""What the versions that are installed allow."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

__all__ = ["PAGE_FLOOR", "why_no_page"]

#: Older servers have a hole that matters once a foreign page stands on their origin.
PAGE_FLOOR = (2, 21)


def why_no_page() -> str | None:
    """Say why the page of Fooocus cannot be served through Jupyter; None where it can be."""
    installed = importlib.metadata.version("jupyter-server")
    if _numbers(installed) < PAGE_FLOOR:
        floor = ".".join(map(str, PAGE_FLOOR))
        return (
            f"The page of Fooocus is not served through Jupyter with jupyter-server {installed}: "
            f"versions below {floor} have a known hole (CVE-2026-86049) that a page on the "
            f"server's own origin could use. Install jupyter-server>={floor} and restart the "
            "server."
        )
    if importlib.util.find_spec("jupyter_server_proxy") is None:
        return (
            "The page of Fooocus is served through Jupyter by jupyter-server-proxy, which is not "
            "installed: pip install 'fooocus-nb[ui]', and restart the server."
        )
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", version)[:2])
