"""What Fooocus writes about an image, into the image and into its log page: read and written.

No server is needed, and no pixel is decoded or changed.
"""

from __future__ import annotations

import contextlib
import html
import itertools
import json
import os
import re
import secrets
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fooocus_nb.errors import MetadataError
from fooocus_nb.fooocus.given import only_our_errors, path_of, shown, size_of
from fooocus_nb.fooocus.limits import MAX_FILE_BYTES
from fooocus_nb.fooocus.metadata._completeness import complete
from fooocus_nb.fooocus.metadata._containers import (
    MAX_TEXT,
    PNG_SIGNATURE,
    png_chunk,
    read_fields,
    write_fields,
)
from fooocus_nb.fooocus.metadata._log_rows import rows_of
from fooocus_nb.fooocus.metadata.infotext import (
    dump_a1111,
    dump_json,
    load_a1111,
    load_json,
    parameters_of,
    raw_of,
)
from fooocus_nb.fooocus.plain_files import UnfitFileError, read_plain_file
from fooocus_nb.fooocus.schema.named_values import NamedValues, PartialRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "LogEntry",
    "Metadata",
    "append_log",
    "bare_image",
    "encode_metadata",
    "parse_log",
    "parse_metadata",
    "read_log",
    "read_metadata",
    "with_styles",
    "write_metadata",
]

SCHEMES = ("fooocus", "a1111")
#: A scheme of SimpleSDXL and FooocusPlus: one of the two above under another name.
_SIMPLE = "simple"
_BOM = "\ufeff"
#: What the log pages up to 2.1.852 don't say of themselves.
_BEFORE_VERSIONS = (2, 1, 0)
#: What tells another program's JSON, and that program.
_OTHER_PROGRAMS = {
    "nodes": "ComfyUI",
    "generation_mode": "InvokeAI",
    "app_version": "InvokeAI",
    "model_weights": "InvokeAI",
    "sui_image_params": "SwarmUI",
}


@dataclass(frozen=True)
class Metadata:
    """What an image's file says about how it was made.

    Attributes
    ----------
    scheme : str
        ``fooocus`` (JSON) or ``a1111`` (plain text).
    parameters : NamedValues
        The parameters for ``engine.generate(**parameters)``, a mapping by their canonical names
        that understands the short ones, too. The LoRA that a performance mode loads by itself is
        left out; a size of more than 2048 pixels, which only an upscaled image has, stays in
        `raw`.
    raw : mapping
        Everything that the file says, by Fooocus's own keys.
    text : str
        The text exactly as it stands in the file.
    missing : tuple of str
        What decided the image and isn't told, by the names of parameters; ``input_image`` is an
        image that it was made from. The scheme ``a1111``, for one, has no styles:
        :meth:`Engine.read_metadata` finds them. ``prompt`` and ``negative_prompt`` are there all
        the same, but letters of them were written as question marks. Generating from such
        parameters warns (:class:`~fooocus_nb.IncompleteMetadata`). Whether an image was given is
        told by no scheme of Fooocus's own; it is named where the rest shows it.
    """

    scheme: str
    parameters: NamedValues
    raw: Mapping[str, Any]
    text: str
    missing: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """What made the image, such as ``Fooocus v2.5.5``; empty where it is not told."""
        return str(self.raw.get("version", ""))


@dataclass(frozen=True)
class LogEntry:
    """One image of a log page.

    Attributes
    ----------
    path : Path
        Where the image should be: beside the log page.
    metadata : Metadata
        How it was made.
    """

    path: Path
    metadata: Metadata


def parse_metadata(text: str, scheme: str | None = None) -> Metadata:
    """Understand an embedded text.

    Parameters
    ----------
    text : str
        The text.
    scheme : str, optional
        ``fooocus`` or ``a1111``, or ``simple`` as some forks say; without it the text tells.

    Returns
    -------
    Metadata
        What it says.

    Raises
    ------
    MetadataError
        When it is too large or not what the scheme promises.
    """
    return _parsed(text, scheme)


def _parsed(text: str, scheme: str | None, *, ascii_only: bool = False) -> Metadata:
    if len(text) > MAX_TEXT:
        msg = f"The text is too large: {len(text)} characters, at most {MAX_TEXT}."
        raise MetadataError(msg)
    plain = text.removeprefix(_BOM).rstrip("\0")
    written = "fooocus" if plain.lstrip().startswith("{") else "a1111"
    if scheme is None or scheme.casefold() == _SIMPLE:
        scheme = written
    _check_scheme(scheme)
    if scheme == "fooocus":
        return _metadata(scheme, load_json(plain), text)  # JSON escapes all other letters
    return _metadata(scheme, load_a1111(plain), text, ascii_only=ascii_only)


def _metadata(
    scheme: str,
    raw: Mapping[str, Any],
    text: str,
    *,
    version: tuple[int, int, int] | None = None,
    ascii_only: bool = False,
) -> Metadata:
    if scheme == "fooocus":
        _refuse_others(raw)
    values, missing = complete(
        raw, scheme, parameters_of(raw), version=version, ascii_only=ascii_only
    )
    if raw and not values and not missing:
        msg = "Nothing that it says is a parameter of Fooocus: it is another program's."
        raise MetadataError(msg)
    return Metadata(scheme, _marked(values, missing, text), raw, text, missing)


def _refuse_others(raw: Mapping[str, Any]) -> None:
    """Refuse another program's record, whose values mean something else under the same names."""
    found = [program for key, program in _OTHER_PROGRAMS.items() if key in raw]
    if any(isinstance(value, Mapping) and "class_type" in value for value in raw.values()):
        found.append("ComfyUI")
    if found:
        msg = f"It is the metadata of {found[0]}, which can't be made into parameters of Fooocus."
        raise MetadataError(msg)


def with_styles(metadata: Metadata, styles: Sequence[str]) -> Metadata:
    """Return metadata with the styles that its scheme left out."""
    missing = tuple(name for name in metadata.missing if name != "style_selections")
    values = {**metadata.parameters, "style_selections": list(styles)}
    parameters = _marked(values, missing, metadata.text)
    return replace(metadata, parameters=parameters, missing=missing)


def _marked(values: Mapping[str, Any], missing: tuple[str, ...], record: str) -> NamedValues:
    """Let what tells one image from another, its seed, also tell what is missing beside it.

    A text that isn't whole itself tells so, too, as another one may be given in its place.
    """
    found = dict(values)
    teller = next((name for name in ("image_seed", "prompt") if name in values), None)
    partial = [name for name in missing if isinstance(values.get(name), str)]
    for name in filter(None, (teller, *partial)):
        text = "".join(values[name])  # a str again, without the mark of before
        found[name] = PartialRecord(text, missing, record) if missing else text
    return NamedValues(found)


def bare_image(metadata: Metadata) -> bytes:
    """Return a PNG of one pixel with this metadata: for a server that wants it in an image."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = png_chunk(b"IDAT", zlib.compress(b"\0\0"))
    data = PNG_SIGNATURE + header + pixel + png_chunk(b"IEND", b"")
    return write_fields(data, {"parameters": metadata.text, "fooocus_scheme": metadata.scheme})


def encode_metadata(values: Mapping[str, Any], scheme: str = "fooocus") -> str:
    """Return the text that describes an image.

    Parameters
    ----------
    values : mapping
        Parameters by our names, or Fooocus's own keys, or both.
    scheme : {"fooocus", "a1111"}, optional
        How to write them.

    Returns
    -------
    str
        The text to embed.

    Raises
    ------
    MetadataError
        When the values cannot be written, or the scheme does not exist.
    """
    _check_scheme(scheme)
    if not isinstance(values, Mapping):
        msg = f"There is no metadata in a value of type {type(values).__name__}: give it by name."
        raise MetadataError(msg)
    with only_our_errors("metadata=", MetadataError):
        raw = raw_of(values)
        if scheme == "a1111":
            return dump_a1111(raw)
        return dump_json({**raw, "metadata_scheme": scheme})


def _check_scheme(scheme: str) -> None:
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        msg = f"There is no metadata scheme {shown(scheme)}; there are {' and '.join(SCHEMES)}."
        raise MetadataError(msg)


def read_metadata(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE_BYTES) -> Metadata:
    """Read how an image was made, from the image itself.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG or WebP file.
    max_bytes : int, optional
        The largest file that is read. Default: 64 MB.

    Returns
    -------
    Metadata
        What the file says.

    Raises
    ------
    MetadataError
        When it holds no metadata of Fooocus, or is damaged, hostile, too large, no plain file or
        unreadable.
    """
    file, limit = _given(path, max_bytes)
    with _naming(file):
        fields = read_fields(read_plain_file(file, limit))
        if "parameters" in fields:
            scheme = fields.get("fooocus_scheme") or None
            return _parsed(
                fields["parameters"], scheme, ascii_only=fields.get("charset") == "ascii"
            )
        # Forks write theirs as a comment, where anybody may have written anything.
        comment = fields.get("comment", "")
        if comment.lstrip(_BOM).lstrip().startswith("{") or "Steps: " in comment:
            return parse_metadata(comment)
        if "program" in fields:
            msg = f"It holds no metadata of Fooocus, but of {fields['program']}."
            raise MetadataError(msg)
        msg = (
            "It holds no metadata of Fooocus. Fooocus embeds it only when asked to "
            "(save_metadata_to_images=True); the log.html beside the image may know more."
        )
        raise MetadataError(msg)


def write_metadata(
    path: str | os.PathLike[str],
    metadata: Metadata | Mapping[str, Any],
    *,
    scheme: str | None = None,
    max_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Embed into an image how it was made, in place of what it said before.

    Pixels and everything else in the file stay the same bytes. The file is replaced in one
    step, so it is never half written.

    Parameters
    ----------
    path : path-like
        A PNG, JPEG or WebP file.
    metadata : Metadata or mapping
        What `read_metadata` gave, which is written back exactly; or parameters by our names,
        Fooocus's own keys, or both.
    scheme : {"fooocus", "a1111"}, optional
        How to write it. The default is the metadata's own, ``fooocus`` for a mapping.
    max_bytes : int, optional
        The largest file that is changed. Default: 64 MB.

    Raises
    ------
    MetadataError
        When the file is no such image or cannot be written, or the values cannot.
    """
    file, limit = _given(path, max_bytes)
    with _naming(file):
        raw: Mapping[str, Any]
        if isinstance(metadata, Metadata):
            raw, chosen = metadata.raw, scheme or metadata.scheme
            same = chosen == metadata.scheme
            text = metadata.text if same else encode_metadata(raw, chosen)
        else:
            raw, chosen = metadata, scheme or SCHEMES[0]
            text = encode_metadata(raw, chosen)
        fields = {"parameters": text, "fooocus_scheme": chosen}
        if raw.get("version"):
            fields["software"] = str(raw["version"])
        _replace(file, write_fields(read_plain_file(file, limit), fields))


# -- the log page ---------------------------------------------------------------------------

_TAG = re.compile(r"<(?:img|button)\b[^<>]*>", re.IGNORECASE)
_PAGE_BEGIN = re.compile(r"\s*(<!doctype html>)?\s*<html", re.IGNORECASE)
#: Each image of Fooocus's own pages has a division.
_BLOCK = re.compile(r"""<div id=["'][^"'<>]{1,200}["']""")
_SRC = re.compile(r"""\ssrc\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_QUOTED_JSON = re.compile(r"""\(\s*(?:'|&#39;|&#x27;)(%7[bB][^'&"]*)""")
_HERE = "<!-- newest first -->"
_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Image log</title>
<style>
body {{ background: #111; color: #eee; font: 14px/1.4 sans-serif; margin: 2rem; }}
.image-container {{ display: flex; flex-wrap: wrap; gap: 1rem; margin: 0 0 2rem; }}
.image-container img {{ max-width: 512px; height: auto; }}
table {{ border-collapse: collapse; max-width: 60rem; }}
th, td {{ border: 1px solid #444; padding: 2px 8px; text-align: left; vertical-align: top; }}
</style>
<script>
function to_clipboard(quoted) {{ navigator.clipboard.writeText(decodeURIComponent(quoted)); }}
</script></head><body>
<p>Each button copies how its image was made, as JSON.</p>
{_HERE}
</body></html>
"""


def read_log(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE_BYTES) -> list[LogEntry]:
    """Read Fooocus's log page.

    Parameters
    ----------
    path : path-like
        A ``log.html``, of 2.0 or later.
    max_bytes : int, optional
        The largest page that is read. Default: 64 MB.

    Returns
    -------
    list of LogEntry
        The images in the page's order, which is newest first from 2.1.783 on.

    Raises
    ------
    MetadataError
        When the page cannot be read or an entry in it is damaged.
    """
    file, limit = _given(path, max_bytes)
    with _naming(file):
        page = read_plain_file(file, limit)
        return [LogEntry(file.parent / name, found) for name, found in _entries(page)]


def parse_log(page: bytes, *, skip_damaged: bool = False) -> list[tuple[str, Metadata]]:
    """Understand a log page.

    Parameters
    ----------
    page : bytes
        What is in a ``log.html``.
    skip_damaged : bool, optional
        Leave out an entry that makes no sense, instead of raising.

    Returns
    -------
    list of (str, Metadata)
        The name of each image's file and how it was made, in the page's order: newest first.

    Raises
    ------
    MetadataError
        When it is no whole log page, or an entry in it is damaged.
    """
    if len(page) > MAX_FILE_BYTES:
        msg = f"The page is too large: over {MAX_FILE_BYTES // 1_000_000} MB."
        raise MetadataError(msg)
    return list(_entries(page, skip_damaged=skip_damaged))


def _entries(page: bytes, *, skip_damaged: bool = False) -> Iterator[tuple[str, Metadata]]:
    """Yield what :func:`parse_log` returns, of a page of any size."""
    text = page.decode("utf-8", errors="replace")
    # A part of a page may be read on purpose, to its last tag.
    is_cut = _PAGE_BEGIN.match(text) and "</html>" not in text and not skip_damaged
    if is_cut or text.rfind("<") > text.rfind(">") or "<" not in text:
        msg = "It is no log page, or it is truncated."
        raise MetadataError(msg)
    image = ""
    starts = [0, *(block.start() for block in _BLOCK.finditer(text)), len(text)]
    for start, end in itertools.pairwise(starts):
        block = text[start:end]
        copied = False
        try:
            for tag in _TAG.finditer(block):
                if source := _SRC.search(tag[0]):
                    # Only the name: a page must not point out of its folder.
                    quoted = html.unescape(source[1] or source[2] or "")
                    image = PurePosixPath(unquote(quoted)).name
                elif found := _QUOTED_JSON.search(tag[0]):
                    copied = True
                    try:
                        yield image, parse_metadata(unquote(found[1], errors="strict"), "fooocus")
                    except (MetadataError, UnicodeDecodeError) as error:
                        _complain(image, error, skip_damaged=skip_damaged)
            rows, after = ({}, 0) if copied else rows_of(block)
            if rows and "</div>" not in block[after:]:
                msg = "the page ends within it"
                raise MetadataError(msg)
            if rows and image:
                text_of_rows = json.dumps(rows)  # in the page's order, which is that of the LoRAs
                raw = load_json(text_of_rows)
                yield image, _metadata("fooocus", raw, text_of_rows, version=_BEFORE_VERSIONS)
        except MetadataError as error:
            _complain(image, error, skip_damaged=skip_damaged)


def _complain(image: str, error: Exception, *, skip_damaged: bool) -> None:
    if skip_damaged:
        return
    msg = f"The entry of the image {image[:80]!r} is damaged: {error}"
    raise MetadataError(msg) from error


def append_log(path: str | os.PathLike[str], image: str, values: Mapping[str, Any]) -> None:
    """Add an image at the top of a log page; the page is made where there is none.

    Parameters
    ----------
    path : path-like
        The ``log.html``.
    image : str
        The image's file name, beside the page.
    values : mapping
        How it was made, by our names or Fooocus's own keys.

    Raises
    ------
    MetadataError
        When the page cannot be written or the values cannot.
    """
    file = path_of("path", path, MetadataError)
    with _naming(file):
        page = _PAGE
        if file.exists():
            page = read_plain_file(file, MAX_FILE_BYTES).decode("utf-8", "replace")
        block = _block(image, raw_of(values))
        head, marker, tail = page.partition(_HERE)
        if not marker:  # somebody else's page: ours goes to its end
            head, marker, tail = page.rpartition("</body>")
            page = f"{head}{block}\n{marker}{tail}" if marker else f"{page}\n{block}\n"
        else:
            page = f"{head}{marker}\n{block}{tail}"
        _replace(file, page.encode("utf-8", "replace"))


def _block(image: str, raw: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in raw.items()
    )
    name, source = html.escape(image), html.escape(quote(image))
    copied = quote(dump_json(raw), safe="")
    return (
        f'<div class="image-container" id="{name.replace(".", "_")}">\n'
        f'<a href="{source}" target="_blank"><img src="{source}" alt="{name}" loading="lazy"></a>\n'
        f'<div><table class="metadata">\n{rows}\n</table>\n'
        f"<button onclick=\"to_clipboard('{copied}')\">Copy to Clipboard</button></div>\n</div>"
    )


# -- files ----------------------------------------------------------------------------------


def _given(path: object, max_bytes: object) -> tuple[Path, int]:
    return path_of("path", path, MetadataError), size_of("max_bytes", max_bytes, MetadataError)


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Put the file's name before every error, and make one of the system's errors."""
    try:
        yield
    except MetadataError as error:
        msg = f"{file}: {error}"
        raise MetadataError(msg) from error
    except OSError as error:
        msg = f"{file}: {error.strerror or error}."
        if isinstance(error, UnfitFileError) and error.too_large:
            msg += " max_bytes= lets it be larger."
        raise MetadataError(msg) from error


def _replace(file: Path, data: bytes) -> None:
    """Write a file in one step, with the permissions that it had; behind a link, its target."""
    file = file.resolve()
    temporary = file.with_name(f".{file.name[:40]}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # Not mkstemp: its files are their owner's alone, and here the umask decides.
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if file.exists():
            temporary.chmod(file.stat().st_mode & 0o7777)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
