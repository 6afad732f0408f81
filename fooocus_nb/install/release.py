"""The release that is installed, and what it is checked against."""

from __future__ import annotations

__all__ = ["COMMIT", "LICENCE", "MODEL_LICENCES", "PYTHONS", "TAG", "URL", "VERSION"]

URL = "https://github.com/lllyasviel/Fooocus"
VERSION = "2.5.5"
TAG = "v2.5.5"
#: The commit that the tag named in the repository when this was written. A tag can be moved, a
#: commit's hash can't: anything else under that tag is not installed.
COMMIT = "8da1d3ff68942e2d976675939fe72c95746e366e"
LICENCE = "Fooocus is a project of its own, under the GNU GPL 3.0"
MODEL_LICENCES = (
    "The models that it downloads at its first start have licences of their own: read them on the "
    "models' pages before you use or publish what they make."
)
#: The versions of Python that its pinned packages have wheels for, the best first. 3.10 is the one
#: that its own environment.yaml and its container image use.
PYTHONS = ((3, 10), (3, 11))
