"""The verbs of ``%fooocus`` and the options that each takes."""

from __future__ import annotations

import argparse
import keyword
import re
from typing import NoReturn

from IPython.core.error import UsageError

__all__ = [
    "GENERATE_OPTIONS",
    "LONG_OPTIONS",
    "PICTURE_VERBS",
    "USAGE",
    "VERBS",
    "generate_parser",
    "help_text",
    "image_parser",
    "option_rows",
    "options_of",
    "start_parser",
    "verb_parser",
]

VERBS = {
    "start": "start an engine: [--path P] [--demo] [--gpu N] [--restart] [--keep] [-- FLAGS]",
    "connect": "use an engine that somebody else runs: URL",
    "generate": "generate images: [options] PROMPT",
    "upscale": "make an image larger: IMAGE [--by 1.5x|2x|'fast 2x'] [options] [PROMPT]",
    "vary": "draw an image anew: IMAGE [--strength subtle|strong] [options] [PROMPT]",
    "inpaint": "draw a part anew: IMAGE --mask IMAGE [--mode MODE] [options] [PROMPT]",
    "outpaint": "extend an image: IMAGE [--sides left,top] [options] [PROMPT]",
    "enhance": "improve parts: IMAGE [--detect WORDS]... [options] [PROMPT]",
    "describe": "say what an image shows: IMAGE [--as photo|anime] [-o NAME]",
    "mask": "find what to paint: IMAGE [--model M] [--detect WORDS] [-o NAME]",
    "preset": "load a preset, or show which there are: [NAME]",
    "refresh": "look for new model files",
    "models": "list the base models: [FILTER]",
    "loras": "list the LoRAs: [FILTER]",
    "styles": "list the styles: [FILTER]",
    "status": "show the engines and their health",
    "logs": "show the engine's last log lines: [-n N], or --live",
    "params": "show what can be set: [FILTER]",
    "gallery": "show the engine's images, or those of a folder, as a grid: [FOLDER]",
    "monitor": "show what the engine does, with Stop and Skip",
    "panel": "show every setting as a form",
    "skip": "skip the image in the making",
    "ps": "list all your engines, also those of other kernels",
    "detach": "let go of the engine without stopping it",
    "stop": "stop the engine",
    "restart": "restart the engine",
    "doctor": "look whether Fooocus can be started here: [--path P] [--python P] [--port N]",
    "help": "show this",
}

#: The verbs that make images from one.
PICTURE_VERBS = ("upscale", "vary", "inpaint", "outpaint", "enhance")

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


def generate_parser(prog: str) -> _Parser:
    """Return the parser for the options of a generation."""
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
    add("--image-prompt", dest="image_prompts", action="append", metavar="IMAGE",
        help="an image that guides; may be given several times")  # fmt: skip
    add("-o", "--output", type=_variable, help="bind the Result to this name")
    add("--repeat", type=positive, default=1, help="generate so many times, each with its seed")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no size such as 1024x768"
        raise argparse.ArgumentTypeError(msg)
    return int(match[1]), int(match[2])


def positive(text: str) -> int:
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


def image_parser(verb: str) -> _Parser:
    """Return the parser for the options of ``generate`` or one of :data:`PICTURE_VERBS`."""
    if verb == "generate":
        return generate_parser("")
    parser = generate_parser(verb)
    add = parser.add_argument
    if verb == "upscale":
        add("--by", default="2x", help="1.5x, 2x or fast 2x")
    elif verb == "vary":
        add("--strength", default="subtle", help="subtle or strong")
    elif verb == "inpaint":
        add("--mask", required=True, help="an image, white where to draw anew")
        add("--mode", default="inpaint", help="inpaint, detail or modify")
        add("--sides", type=_words, help="such as left,top: extend it there as well")
        add("--invert", action="store_true", help="draw anew what is black")
    elif verb == "outpaint":
        add("--sides", type=_words, default=("left", "right", "top", "bottom"))
    else:
        add("--detect", action="append", metavar="WORDS", help="what to improve, such as face")
        add("--upscale", metavar="FACTOR", help="make it larger as well")
        add("--vary", metavar="STRENGTH", help="vary it as well")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def start_parser() -> _Parser:
    """Return the parser for what follows ``start``."""
    parser = _parser("start")
    add = parser.add_argument
    add("--path", help="the folder of the Fooocus checkout")
    add("--python", help="the interpreter that Fooocus is installed in")
    add("--demo", action="store_true", help="the demo engine, which draws without AI")
    add("--gpu", type=int, help="the index of the GPU")
    add("--port", type=int, help="the port of its web server")
    add("--output-dir", help="where images are copied to")
    add("--restart", nargs="?", const="on-failure", choices=("never", "on-failure"),
        help="restart it when it fails by itself")  # fmt: skip
    add("--timeout", type=float, help="seconds without progress after which to give up")
    add("--keep", dest="lifetime", action="store_const", const="detached", default="kernel",
        help="keep it through restarts of the kernel, until it idles for 30 minutes")  # fmt: skip
    add("--idle-timeout", type=float, help="seconds, with --keep")
    sharing = parser.add_mutually_exclusive_group()
    sharing.add_argument("--new", dest="share", action="store_false", default=None,
        help="start a new one, though one like it runs")  # fmt: skip
    sharing.add_argument("--share", action="store_true", default=None,
        help="share it with other kernels, also a demo engine")  # fmt: skip
    return parser


def verb_parser(verb: str) -> _Parser:
    """Return the parser for what follows any other verb."""
    parser = _parser(verb)
    if verb == "connect":
        parser.add_argument("url")
        parser.add_argument("--output-dir")
    elif verb == "doctor":
        parser.add_argument("--path", help="the folder of the Fooocus checkout")
        parser.add_argument("--python", help="the interpreter that Fooocus is installed in")
        parser.add_argument("--port", type=int, help="the port that will be asked for")
    elif verb == "logs":
        parser.add_argument("-n", type=positive, default=40)
        parser.add_argument("--live", action="store_true")
    elif verb == "gallery":
        parser.add_argument("folder", nargs="*")
    elif verb == "describe":
        parser.add_argument("image")
        parser.add_argument("--as", dest="content", type=_words, default=("photo",))
        parser.add_argument("-o", "--output", type=_variable)
    elif verb == "mask":
        parser.add_argument("image")
        parser.add_argument("--model")
        parser.add_argument("--detect")
        parser.add_argument("-o", "--output", type=_variable)
    elif verb in ("preset", "models", "loras", "styles"):
        parser.add_argument("word", nargs="?", default="")
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
    if verb == "generate" or verb in PICTURE_VERBS:
        parser = image_parser(verb)
    else:
        parser = start_parser() if verb == "start" else verb_parser(verb)
    return {
        option: action.nargs != 0 for action in parser._actions for option in action.option_strings
    }


#: The options of a generation, for completion.
GENERATE_OPTIONS = sorted(
    option for action in generate_parser("generate")._actions for option in action.option_strings
)
LONG_OPTIONS = [option for option in GENERATE_OPTIONS if option.startswith("--")]


USAGE = "%fooocus PROMPT, or %%fooocus [options] with the prompt as the cell's body, generates."


def option_rows() -> list[tuple[str, str]]:
    """Return the options of a generation, each as it is written, and what it does."""
    rows = []
    for action in generate_parser("generate")._actions:
        value = action.metavar or action.option_strings[-1].lstrip("-").replace("-", "_").upper()
        words = ", ".join(action.option_strings)
        written = words if action.nargs == 0 else f"{words} {value}"
        rows.append((written, (action.help or "").replace("%%", "%")))
    return rows


def help_text() -> str:
    """Return the verbs and the options of a generation."""
    verbs = "\n".join(f"  {verb:<9} {text}" for verb, text in VERBS.items())
    width = max(len(written) for written, _ in option_rows())
    options = "\n".join(f"  {written:<{width}}  {text}" for written, text in option_rows())
    return f"{USAGE}\n\nVerbs of %fooocus:\n{verbs}\n\nOptions of a generation:\n{options}"
