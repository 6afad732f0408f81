"""How the documentation site is built: `sphinx-build -W -b html docs docs/_build`.

The pages are MyST notebooks: each `code-cell` is executed on the demo engine, in a kernel of its
own, and an error in one fails the build. The notebooks of `notebooks/` become pages as they are.
"""

from __future__ import annotations

import atexit
import inspect
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "fooocus-nb"
author = "The fooocus-nb developers"
copyright = "the fooocus-nb developers"  # noqa: A001
version = release = fooocus_nb.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "**/fooocus-outputs"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = True

nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_show_tb = True
#: An error of ours ends in lines of a log, which no lexer of tracebacks knows.
nb_render_error_lexer = "text"
#: What only a live page can show is left out of a static one.
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "application/vnd.fooocus-nb.view+json", None),
]

autodoc_typehints = "signature"
#: Beyond it, each parameter has a line of its own.
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": "Exception"}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "sphinx_book_theme"
html_title = "fooocus-nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "repository_url": "https://github.com/fooocus-nb/fooocus-nb",
    "repository_branch": "main",
    "path_to_docs": "docs",
    "use_repository_button": True,
    "use_issues_button": True,
    "show_toc_level": 2,
    "home_page_in_toc": True,
}
suppress_warnings = ["mystnb.unknown_mime_type"]

_KINDS = {
    "classes": "Classes",
    "functions": "Functions",
    "exceptions": "Exceptions",
}


SOURCE = "https://github.com/fooocus-nb/fooocus-nb/blob/main/"
#: A link out of docs/, as GitHub follows it.
_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")


def _link(match: re.Match[str]) -> str:
    path = match[1]
    return f"]({path})" if path.startswith("notebooks/") else f"]({SOURCE}{path})"


def _keep_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Let links out of docs/ lead to the site's own page, or to the repository."""
    source[0] = _OUTSIDE.sub(_link, source[0])


#: The class without documented parameters that readers make by themselves.
_CALLED = "RestartPolicy"


def _hide_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Hide the parameters of a class that nobody makes by calling it."""
    called = "Parameters\n---" in (inspect.getdoc(obj) or "") or name.endswith(_CALLED)
    return None if what != "class" or called else ("", "")


def _keep_property(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Take a property's text as it is: the words before a colon are no type."""
    if what == "property" and (about := inspect.getdoc(obj)) and "\n---" not in about:
        lines[:] = about.splitlines()


def _kind(member: object) -> str:
    if inspect.isclass(member):
        return "exceptions" if issubclass(member, Warning | BaseException) else "classes"
    return "functions"


def _pages() -> Iterator[tuple[str, str]]:
    """Yield the path and text of each page about the Python interface."""
    names: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name in sorted(fooocus_nb.__all__, key=str.casefold):
        if not name.startswith("_") and "ipython_extension" not in name:
            names[_kind(getattr(fooocus_nb, name))].append(name)
    for name in names["classes"]:
        yield f"{name}.md", _page(name, [f".. autoclass:: fooocus_nb.{name}"])
    functions = [f".. autofunction:: fooocus_nb.{name}" for name in names["functions"]]
    yield "functions.md", _page("Functions", functions)
    exceptions = [
        f".. autoexception:: fooocus_nb.{name}\n   :show-inheritance:"
        for name in names["exceptions"]
    ]
    yield "exceptions.md", _page("Exceptions", exceptions)
    listed = "\n".join(["functions", *names["classes"], "exceptions"])
    yield (
        "index.md",
        "# Python interface\n\n"
        "Everything here is at the front door: `import fooocus_nb`, then `fooocus_nb.NAME`.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n",
    )


def _page(title: str, directives: list[str]) -> str:
    body = "\n\n".join(directives)
    return f"# {title}\n\n```{{eval-rst}}\n{body}\n```\n"


def _write_pages(app: Sphinx) -> None:
    """Write the pages that are made from the package, and copy the notebooks beside them."""
    folder = HERE / "api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in _pages():
        (folder / name).write_text(text, encoding="utf-8")
    copies = HERE / "notebooks"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy2(notebook, copies)


def setup(app: Sphinx) -> None:
    """Connect what is made at each build."""
    # Engines of the pages are nobody else's, and nothing is left where the pages are.
    if "FOOOCUS_NB_RUNTIME_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="fooocus-nb-docs-")
        os.environ["FOOOCUS_NB_RUNTIME_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _keep_links)
    app.connect("autodoc-process-signature", _hide_signature)
    # After napoleon, which has 500.
    app.connect("autodoc-process-docstring", _keep_property, priority=600)
