"""What a message advises, in the words of who reads it."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["Reader", "in_words_of"]

#: Where a message is read: a cell of Python, a magic, or a terminal.
Reader = Literal["python", "magic", "shell"]

_READERS: tuple[Reader, ...] = ("python", "magic", "shell")
#: What remedies advise, in the words of each reader. Messages are written for Python or with the
#: name of a command: an error is made far from where it is read, often on another thread.
_ACTIONS: tuple[tuple[str, str, str], ...] = (
    ("fooocus_nb.start('~/Fooocus')", "%fooocus start --path ~/Fooocus", "--path ~/Fooocus"),
    ("fooocus_nb.start(demo=True)", "%fooocus start --demo", "--demo"),
    ("demo=True starts", "--demo starts", "--demo starts"),
    ("share=False and lifetime='detached'", "--new and --keep", "share=False and --keep"),
    ('give it as ("user", "secret")', "give it as USER:SECRET", "give it as USER:SECRET"),
    ("engine.restart()", "%fooocus restart", "engine.restart()"),
    (
        "engine.wait_ready() waits until it can.",
        "%fooocus status shows when it can.",
        "fooocus-nb ps shows when it can.",
    ),
    (
        "engine.wait_ready() waits for that.",
        "%fooocus status shows when it is ready.",
        "fooocus-nb ps shows when it is ready.",
    ),
    ("engine.tail()", "%fooocus logs", "fooocus-nb logs"),
    ("engine.stop()", "%fooocus stop", "fooocus-nb stop"),
    (
        "engine.parameters shows them all.",
        "%fooocus params shows them all.",
        "In a notebook, engine.parameters shows them all.",
    ),
    ("engine.parameters", "%fooocus params", "engine.parameters"),
    ("engine.make_mask(image)", "%fooocus mask IMAGE", "engine.make_mask(image)"),
    ("share=False starts", "--new starts", "share=False starts"),
    (
        "fooocus_nb.doctor('~/Fooocus')",
        "%fooocus doctor --path ~/Fooocus",
        "fooocus-nb doctor --path ~/Fooocus",
    ),
    (
        "fooocus_nb.restore_model(path)",
        "%fooocus doctor --restore",
        "fooocus-nb doctor --restore",
    ),
    ("fooocus_nb.doctor()", "%fooocus doctor", "fooocus-nb doctor"),
    ("fooocus-nb install", "%fooocus install", "fooocus-nb install"),
)
_FORMS = {
    form: forms
    for forms in _ACTIONS
    for form in forms
    if form == forms[0] or form.startswith(("%fooocus ", "fooocus-nb "))
}
#: The longest first: `fooocus-nb doctor` begins other commands.
_FORM = re.compile("|".join(map(re.escape, sorted(_FORMS, key=len, reverse=True))))
#: Arguments of a start that are flags of Fooocus, or variables of its environment.
_FLAGS = re.compile(r"(?:args=)?\['(--[^\]]*)'\]")
_VARIABLES = re.compile(r"env=\{+([^{}]*)\}+")


def _arguments(*names: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])({'|'.join(names)})=(?=[\s.,;:)]|$)")


#: Switches that are options under the same name.
_SWITCHES = re.compile(r"(?<![(\w.-])(mix|demo)=True(?=[\s.,:;)]|$)")
_ANY_FLAGS = _arguments("args")
_ENVIRONMENT = _arguments("env")
#: Arguments that are options under the same name.
_OPTIONS: dict[Reader, re.Pattern[str]] = {
    "magic": _arguments(
        "auth", "detect", "gpu", "name", "output_dir", "path", "port", "python", "timeout"
    ),
    "shell": _arguments("auth", "gpu", "path", "python", "timeout"),
}


def in_words_of(reader: Reader, text: str) -> str:
    """Return a message with what it advises as its reader says it.

    Parameters
    ----------
    reader : {"python", "magic", "shell"}
        Where it is read: after a call in Python, below a magic, or in a terminal.
    text : str
        The message; what it advises may be written for any of them.

    Returns
    -------
    str
        ``engine.restart()`` for Python is ``%fooocus restart`` below a magic.
    """
    wanted = _READERS.index(reader)
    text = _FORM.sub(lambda found: _FORMS[found[0]][wanted], text)
    return text if reader == "python" else _arguments_as_options(reader, text)


def _arguments_as_options(reader: Reader, text: str) -> str:
    """Return a message with the arguments of a call as options of a magic or a command."""
    flags = "-- {}" if reader == "magic" else "--flags='{}'"
    text = _FLAGS.sub(lambda found: flags.format(found[1].replace("', '", " ")), text)
    text = _VARIABLES.sub(lambda found: _assignments(reader, found[1]), text)
    text = _ANY_FLAGS.sub("the flags behind --" if reader == "magic" else "--flags", text)
    text = _ENVIRONMENT.sub("%env" if reader == "magic" else "the environment", text)
    # A command asks for the password; on its line everybody on the machine could read it.
    login = "--auth user:secret" if reader == "magic" else "--auth user"
    text = text.replace('auth=("user", "secret")', login)
    text = _SWITCHES.sub(r"--\1", text)
    return _OPTIONS[reader].sub(lambda found: f"--{found[1].replace('_', '-')}", text)


def _assignments(reader: Reader, items: str) -> str:
    given = [item.replace("': '", "=").strip("' ") for item in items.split(",")]
    if reader == "magic":
        return " and ".join(f"%env {item}" for item in given) + " in a cell before it"
    return " ".join(given) + " before the command"
