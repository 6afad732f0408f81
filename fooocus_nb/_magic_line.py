"""What stands behind ``%fooocus``: verbs, options and prompts, the prompts left as they are."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import keyword
import os
import re
import secrets
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError

from fooocus_nb.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fooocus_nb.fooocus.parameter import Parameter

__all__ = [
    "GENERATE_OPTIONS",
    "VERBS",
    "GenerateOptions",
    "help_text",
    "options_of",
    "parse_cell_line",
    "parse_generate_line",
    "parse_start_line",
    "parse_verb_line",
    "split_verb",
    "typed_value",
]

VERBS = {
    "start": "start an engine: [--path P] [--python P] [--demo] [--gpu N] [-- FOOOCUS FLAGS]",
    "connect": "use an engine that somebody else runs: URL",
    "generate": "generate images: [options] PROMPT",
    "status": "show the engines and their health",
    "logs": "show the engine's last log lines: [-n N]",
    "params": "show what can be set: [FILTER]",
    "skip": "skip the image in the making",
    "stop": "stop the engine",
    "restart": "restart the engine",
    "help": "show this",
}

_SIZE = re.compile(r"(\d+)\s*[x×*]\s*(\d+)")


class _Parser(argparse.ArgumentParser):
    """Reports bad usage as IPython does, and never ends the kernel."""

    def error(self, message: str) -> NoReturn:
        msg = f"{self.prog}: {message}. %fooocus help lists the options."
        raise UsageError(msg)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise UsageError(message or "")


def _parser(verb: str) -> _Parser:
    parser = _Parser(prog=f"%fooocus {verb}".strip(), add_help=False, allow_abbrev=False)
    parser.add_argument("--name", help="the engine's name; by default the last one started")
    return parser


def _generate_parser(prog: str) -> _Parser:
    parser = _parser(prog)
    add = parser.add_argument
    add("-n", "--images", dest="image_number", type=int, help="how many images")
    add("--seed", help="the first image's seed")
    add("--style", dest="styles", action="append", help="a style; may be given several times")
    add("--negative", dest="negative_prompt", help="what should not be in the image")
    add("--performance", help="such as Speed or Quality")
    add("--aspect", dest="aspect_ratio", help="such as 1152x896")
    add("--steps", type=int, help="sampling steps")
    add("--size", type=_size, help="WxH in pixels, in place of --aspect")
    add("--set", dest="settings", action="append", type=_setting, metavar="NAME=VALUE",
        help="any other parameter; %%fooocus params lists them")  # fmt: skip
    add("-o", "--output", type=_variable, help="bind the Result to this name")
    add("--repeat", type=_positive, default=1, help="generate so many times, each with its seed")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no size such as 1024x768"
        raise argparse.ArgumentTypeError(msg)
    return int(match[1]), int(match[2])


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        msg = f"{text!r} is no whole number above 0"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def _variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        msg = f"{text!r} is no name for a variable"
        raise argparse.ArgumentTypeError(msg)
    return text


_WORDS = {"true": True, "yes": True, "on": True, "1": True,
          "false": False, "no": False, "off": False, "0": False}  # fmt: skip


def typed_value(parameter: Parameter | None, text: str) -> Any:
    """Return the value that ``--set NAME=TEXT`` means for this parameter.

    Parameters
    ----------
    parameter : Parameter or None
        The server's; None where it has none of that name.
    text : str
        As it was written.

    Returns
    -------
    object
        Of the parameter's type; the text itself where it is none, for the check to complain of.
    """
    kind = "" if parameter is None else parameter.type
    if kind == "boolean":
        return _WORDS.get(text.casefold(), text)
    if kind in ("integer", "number"):
        with contextlib.suppress(ValueError):
            return int(text)
        with contextlib.suppress(ValueError):
            return float(text)
        return text
    if kind in ("", "choices"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
        if kind == "choices":
            return [part.strip() for part in text.split(",") if part.strip()]
    return text


#: The options of a generation, for completion.
GENERATE_OPTIONS = sorted(
    option for action in _generate_parser("generate")._actions for option in action.option_strings
)


@dataclass
class GenerateOptions:
    """What to generate, how often, and where the result goes.

    Attributes
    ----------
    prompt : str
        As it was written.
    parameters : dict
        By name, as ``engine.generate`` takes them.
    settings : tuple of (str, str)
        What ``--set`` gave, as it was written.
    name : str or None
        The engine's name.
    output : str or None
        The variable for the result.
    repeat : int
        How many generations.
    """

    prompt: str
    parameters: dict[str, Any] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    output: str | None = None
    repeat: int = 1

    def runs(self, table: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each generation: one image's seeds never meet another's.

        Parameters
        ----------
        table : mapping
            The server's parameters.

        Yields
        ------
        dict
            By name, as ``engine.generate`` takes them.
        """
        by_name = {alias: item for item in table.values() for alias in (item.name, *item.aliases)}
        parameters = dict(self.parameters)
        for name, text in self.settings:
            parameters[name] = typed_value(by_name.get(name), text)
        if self.repeat == 1:
            yield parameters
            return
        key = "image_seed" if "image_seed" in parameters else "seed"
        seed = parameters.get(key)
        count = parameters.get("image_number")
        if count is None and "image_number" in table:
            count = table["image_number"].default
        for index in range(self.repeat):
            if seed is None or not str(seed).isdigit():
                run_seed = seed if seed is not None else secrets.randbelow(2**63)
            else:
                run_seed = (int(seed) + index * (count or 1)) % 2**63
            yield {**parameters, key: run_seed}


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""  # or every path would lose its backslashes
    try:
        return list(lexer)
    except ValueError as error:
        msg = f"%fooocus: {error} in {text!r}"
        raise UsageError(msg) from None


def parse_cell_line(line: str, cell: str) -> GenerateOptions:
    """Read the line of a ``%%fooocus`` cell; its body is the prompt, untouched.

    Parameters
    ----------
    line, cell : str
        The line and the body.

    Returns
    -------
    GenerateOptions
        What to do.

    Raises
    ------
    UsageError
        When an option is wrong, the line holds something else, or the body is empty.
    """
    words = _split(line)
    known, rest = _generate_parser("").parse_known_args(words[words[:1] == ["generate"] :])
    if rest and rest[0].startswith("-"):
        msg = f"%%fooocus: there is no option {rest[0]!r}.{nearest(rest[0], GENERATE_OPTIONS)}"
        raise UsageError(msg)
    if rest:
        msg = (
            f"%%fooocus: {rest[0]!r} is no option. The prompt goes into the cell's body; verbs "
            "such as start go behind a single %."
        )
        raise UsageError(msg)
    prompt = cell.removesuffix("\n")
    if not prompt.strip():
        msg = "%%fooocus: the cell's body is the prompt, and it is empty."
        raise UsageError(msg)
    return _options(known, prompt)


LONG_OPTIONS = [option for option in GENERATE_OPTIONS if option.startswith("--")]
_OPTION = re.compile(r"(--?[A-Za-z][\w-]*)(?:=|\s+|$)")
_VALUE = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+)(?:\s+|$)""")


def parse_generate_line(line: str) -> GenerateOptions:
    """Read options at the head of a line; all that follows them is the prompt, untouched.

    Parameters
    ----------
    line : str
        What follows ``%fooocus`` or ``%fooocus generate``.

    Returns
    -------
    GenerateOptions
        What to do.

    Raises
    ------
    UsageError
        When an option is wrong or there is no prompt.
    """
    words: list[str] = []
    rest = line.strip()
    while (option := _OPTION.match(rest)) is not None:
        name, rest = option[1], rest[option.end() :]
        if name not in GENERATE_OPTIONS:
            msg = f"%fooocus: there is no option {name!r}.{nearest(name, GENERATE_OPTIONS)}"
            raise UsageError(msg)
        value = _VALUE.match(rest)
        if value is None:
            words.append(name)
            break
        # In one word, so that a value may begin with a dash.
        words.append(f"{name}{'=' if name.startswith('--') else ''}{''.join(_split(value[1]))}")
        rest = rest[value.end() :]
    known = _generate_parser("").parse_args(words)
    literal = rest == "--" or rest.startswith("-- ")
    rest = rest[2:].strip() if literal else rest
    if not rest:
        msg = "%fooocus: the prompt is missing."
        raise UsageError(msg)
    if not literal:
        _refuse_late_options(rest)
    return _options(known, rest)


def _refuse_late_options(prompt: str) -> None:
    """Refuse options behind the prompt, mistyped ones too: to draw them is what nobody wants."""
    for word in prompt.split():
        option = word.partition("=")[0]
        if re.match("--[A-Za-z]", option):
            hint = "" if option in LONG_OPTIONS else nearest(option, LONG_OPTIONS)
            msg = (
                f"%fooocus: options come before the prompt, but {word} is behind it.{hint} Where "
                "it belongs to the prompt, write -- before the prompt."
            )
            raise UsageError(msg)


def _options(known: argparse.Namespace, prompt: str) -> GenerateOptions:
    direct = [
        "image_number",
        "seed",
        "styles",
        "negative_prompt",
        "performance",
        "aspect_ratio",
        "steps",
    ]
    parameters = {name: getattr(known, name) for name in direct if getattr(known, name) is not None}
    if known.size is not None:
        parameters["width"], parameters["height"] = known.size
    for name, _ in known.settings or ():
        if name in parameters:
            msg = f"%fooocus: {name} is given twice."
            raise UsageError(msg)
    return GenerateOptions(
        prompt, parameters, tuple(known.settings or ()), known.name, known.output, known.repeat
    )


def parse_start_line(line: str) -> dict[str, Any]:
    """Read what follows ``%fooocus start``.

    Parameters
    ----------
    line : str
        Options; what follows ``--`` is for Fooocus.

    Returns
    -------
    dict
        Arguments of :func:`fooocus_nb.start`.

    Raises
    ------
    UsageError
        When an option is wrong.
    """
    words = _split(line)
    flags: list[str] = []
    if "--" in words:
        place = words.index("--")
        words, flags = words[:place], words[place + 1 :]
    known = _start_parser().parse_args(words)
    return {**vars(known), "args": tuple(flags)}


def _start_parser() -> _Parser:
    parser = _parser("start")
    add = parser.add_argument
    add("--path", help="the folder of the Fooocus checkout")
    add("--python", help="the interpreter that Fooocus is installed in")
    add("--demo", action="store_true", help="the demo engine, which draws without AI")
    add("--gpu", type=int, help="the index of the GPU")
    add("--port", type=int, help="the port of its web server")
    add("--output-dir", help="where images are copied to")
    add("--timeout", type=float, help="seconds without progress after which to give up")
    return parser


def parse_verb_line(verb: str, line: str) -> argparse.Namespace:
    """Read what follows one of the other verbs.

    Parameters
    ----------
    verb, line : str
        The verb and what follows it.

    Returns
    -------
    argparse.Namespace
        Its options.

    Raises
    ------
    UsageError
        When an option is wrong.
    """
    parser = _verb_parser(verb)
    known, rest = parser.parse_known_args(_split(line))
    if rest:
        hint = nearest(rest[0], options_of(verb)) if rest[0].startswith("-") else ""
        msg = (
            f"%fooocus {verb}: {rest[0]!r} means nothing here.{hint} To draw it, write: "
            f"%fooocus generate {verb} {line}"
        )
        raise UsageError(msg)
    return known


def _verb_parser(verb: str) -> _Parser:
    parser = _parser(verb)
    if verb == "connect":
        parser.add_argument("url")
        parser.add_argument("--output-dir")
    elif verb == "logs":
        parser.add_argument("-n", type=_positive, default=40)
    elif verb == "params":
        parser.add_argument("filter", nargs="*")
    return parser


def options_of(verb: str) -> dict[str, bool]:
    """Return the options behind a verb, and whether each takes a value.

    Parameters
    ----------
    verb : str
        One of :data:`VERBS`.

    Returns
    -------
    dict
        By option.
    """
    if verb == "generate":
        parser = _generate_parser("")
    else:
        parser = _start_parser() if verb == "start" else _verb_parser(verb)
    return {
        option: action.nargs != 0 for action in parser._actions for option in action.option_strings
    }


def split_verb(line: str) -> tuple[str, str]:
    """Tell a verb from a prompt.

    Parameters
    ----------
    line : str
        What follows ``%fooocus``.

    Returns
    -------
    tuple of str
        The verb and what follows it; a line that begins with no verb is a prompt to generate.

    Raises
    ------
    UsageError
        When the line is empty.
    """
    line = line.strip()
    if not line:
        msg = "%fooocus needs a prompt or a verb; %fooocus help lists them."
        raise UsageError(msg)
    word = line.split(maxsplit=1)[0]
    return (word, line[len(word) :].strip()) if word in VERBS else ("generate", line)


def help_text() -> str:
    """Return the verbs and the options of a generation."""
    verbs = "\n".join(f"  {verb:<9} {text}" for verb, text in VERBS.items())
    options = _generate_parser("generate").format_help().partition("options:")[2]
    return (
        "%fooocus PROMPT, or %%fooocus [options] with the prompt as the cell's body, generates.\n"
        f"\nVerbs of %fooocus:\n{verbs}\n\nOptions of a generation:{options}"
    )
