"""Install Fooocus: its released commit, an environment of its own, and packages that work today.

Nothing is installed into the environment that this runs in, and nothing is touched that an
installation did not make.
"""

from __future__ import annotations

from fooocus_nb.install.installer import DEFAULT_FOLDER, Installed, install
from fooocus_nb.install.progress import STEPS, Observer, Progress

__all__ = ["DEFAULT_FOLDER", "STEPS", "Installed", "Observer", "Progress", "install"]
