"""Text fields inside PNG, JPEG and WebP files, read and written without touching the pixels.

Pixels are never decoded, so a decompression bomb has nothing to unfold; every length that a
file claims is checked against the bytes that are there.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import TYPE_CHECKING

from fooocus_nb.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MAX_TEXT", "PNG_SIGNATURE", "png_chunk", "read_fields", "write_fields"]

#: The largest text that is read or written. The longest that Fooocus was seen to write is 4 kB.
MAX_TEXT = 4_000_000
#: EXIF tags by the names of the PNG text chunks that they stand for.
EXIF_TAGS = {"parameters": 0x9286, "fooocus_scheme": 0x927C, "software": 0x0131}

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_EXIF = b"Exif\0\0"
_ASCII = 2
_UNDEFINED = 7
_MAX_TAGS = 1000
#: A scheme or a program's name is shorter; a camera's notes aren't.
_MAX_WORD = 1000
_JPEG_SEGMENT = 65533
#: Where EXIF's own directory is, into which other programs put the UserComment.
_EXIF_DIRECTORY = 0x8769
#: What EXIF puts before a UserComment to name its encoding. Programs don't keep to what it says,
#: so the bytes themselves decide.
_CHARSETS = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8)
_BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "utf-8"}
_UTF8_BOM = b"\xef\xbb\xbf"
#: A PNG text chunk or JPEG segment in which forks of Fooocus write.
_COMMENT = "comment"
_KNOWN_SCHEMES = ("fooocus", "a1111", "simple")
#: The PNG text chunks of other programs' records, and those programs.
_PROGRAMS = {
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "workflow": "ComfyUI",
    "prompt": "ComfyUI",
}


def read_fields(data: bytes) -> dict[str, str]:
    """Return ``parameters``, ``fooocus_scheme``, ``software`` and ``comment`` where they are.

    ``program`` is the one of which there is a record of another kind; ``charset`` is ``ascii``
    where the parameters are a text in EXIF without any other letter.
    """
    kind = _kind(data)
    if kind == "PNG":
        return _png_fields(data)
    if kind == "JPEG":
        exif, comment = _jpeg_exif(data), _jpeg_comment(data)
        return {**comment, **(_exif_fields(exif) if exif else {})}
    exif = _webp_exif(data)
    return _exif_fields(exif) if exif else {}


def write_fields(data: bytes, fields: Mapping[str, str]) -> bytes:
    """Return the file with these text fields in place of those that it had."""
    for name, text in fields.items():
        if len(text) > MAX_TEXT:
            msg = f"The text for {name!r} is too large: {len(text)} characters, at most {MAX_TEXT}."
            raise MetadataError(msg)
    kind = _kind(data)
    if kind == "PNG":
        return _png_with(data, fields)
    return _jpeg_with(data, fields) if kind == "JPEG" else _webp_with(data, fields)


def _kind(data: bytes) -> str:
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data.startswith(_JPEG):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    msg = "This is no PNG, JPEG or WebP image." if data else "The file is empty."
    raise MetadataError(msg)


def _truncated(what: str) -> MetadataError:
    return MetadataError(f"The {what} file is truncated or damaged.")


# -- PNG ------------------------------------------------------------------------------------


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where the chunk begins and ends."""
    at = len(PNG_SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise _truncated("PNG")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise _truncated("PNG")
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise _truncated("PNG")


def _png_fields(data: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    exif: dict[str, str] = {}
    for kind, start, end in _png_chunks(data):
        if kind == b"eXIf":
            with contextlib.suppress(MetadataError):  # it is the camera's, most of the time
                exif |= _exif_fields(data[start + 8 : end - 4])
        if kind not in {b"tEXt", b"zTXt", b"iTXt"}:
            continue
        body = data[start + 8 : end - 4]
        name = _png_keyword(body)
        if name in EXIF_TAGS or name == _COMMENT:
            if zlib.crc32(kind + body) != struct.unpack(">I", data[end - 4 : end])[0]:
                raise _truncated("PNG")
            fields.setdefault(name, _png_text(kind, body))
        elif name in _PROGRAMS:
            fields.setdefault("program", _PROGRAMS[name])
    return fields if "parameters" in fields else {**fields, **exif}


def _png_keyword(body: bytes) -> str:
    return body[:80].partition(b"\0")[0].decode("latin-1").casefold()


def _png_text(kind: bytes, body: bytes) -> str:
    rest = body.partition(b"\0")[2]
    if kind in {b"tEXt", b"zTXt"}:
        text = _sized(rest) if kind == b"tEXt" else _inflate(rest[1:])
        return _utf8(text) if text.startswith(_UTF8_BOM) else text.decode("latin-1")
    compressed = rest[:1] == b"\1"
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _utf8(_inflate(text) if compressed else _sized(text))


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_TEXT + 1)
    except zlib.error as error:
        raise _truncated("PNG") from error
    _sized(text)
    if not unpacker.eof:
        raise _truncated("PNG")
    return text


def _sized(text: bytes) -> bytes:
    if len(text) > MAX_TEXT:
        msg = f"The embedded text is too large: over {MAX_TEXT} bytes. Fooocus writes some 4 kB."
        raise MetadataError(msg)
    return text


def _utf8(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = "The embedded text is no valid UTF-8."
        raise MetadataError(msg) from error


def _png_with(data: bytes, fields: Mapping[str, str]) -> bytes:
    wanted = {name: text for name, text in fields.items() if name != "software"}
    parts = [PNG_SIGNATURE]
    for kind, start, end in _png_chunks(data):
        if kind == b"IDAT" and wanted:  # texts go before the pixels, where readers look first
            parts += [_text_chunk(name, text) for name, text in wanted.items()]
            wanted = {}
        is_text = kind in {b"tEXt", b"zTXt", b"iTXt"}
        if not (is_text and _png_keyword(data[start + 8 : end - 4]) in EXIF_TAGS):
            parts.append(data[start:end])
    if wanted:
        raise _truncated("PNG")
    return b"".join(parts)


def _text_chunk(name: str, text: str) -> bytes:
    try:
        kind, body = b"tEXt", name.encode("latin-1") + b"\0" + text.encode("latin-1")
        if "\0" in text:
            msg = "A text with a NUL character cannot be embedded."
            raise MetadataError(msg)
    except UnicodeEncodeError:
        kind, body = b"iTXt", name.encode("latin-1") + b"\0\0\0\0\0" + _encode(text)
    return png_chunk(kind, body)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG, with its length and its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _encode(text: str) -> bytes:
    if "\0" in text:
        msg = "A text with a NUL character cannot be embedded."
        raise MetadataError(msg)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        msg = "The text holds half a surrogate pair, which no file can hold."
        raise MetadataError(msg) from error


# -- JPEG -----------------------------------------------------------------------------------


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of the segments before the pixels, the last one without end."""
    at = len(_JPEG)
    while True:
        if at + 4 > len(data) or data[at] != 0xFF:
            raise _truncated("JPEG")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in {0xDA, 0xD9}:
            yield marker, at, len(data)
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data) or end < at + 4:
            raise _truncated("JPEG")
        yield marker, at, end
        at = end


def _is_exif(data: bytes, marker: int, start: int) -> bool:
    return marker == 0xE1 and data[start + 4 : start + 10] == _EXIF


def _jpeg_exif(data: bytes) -> bytes:
    for marker, start, end in _jpeg_segments(data):
        if _is_exif(data, marker, start):
            return data[start + 10 : end]
    return b""


def _jpeg_comment(data: bytes) -> dict[str, str]:
    for marker, start, end in _jpeg_segments(data):
        if marker == 0xFE:
            return {_COMMENT: _exif_text(data[start + 4 : end])}
    return {}


def _jpeg_with(data: bytes, fields: Mapping[str, str]) -> bytes:
    segments = list(_jpeg_segments(data))
    exif = _exif_with(_jpeg_exif(data), fields)
    if len(exif) + len(_EXIF) > _JPEG_SEGMENT:
        msg = (
            f"The parameters take {len(exif)} bytes, but a JPEG holds at most {_JPEG_SEGMENT}. "
            "Use PNG or WebP."
        )
        raise MetadataError(msg)
    ours = b"\xff\xe1" + struct.pack(">H", len(exif) + len(_EXIF) + 2) + _EXIF + exif
    parts = [_JPEG]
    # JFIF's own segment must come first where there is one.
    has_jfif = segments[0][0] == 0xE0
    if not has_jfif:
        parts.append(ours)
    for index, (marker, start, end) in enumerate(segments):
        if not _is_exif(data, marker, start):
            parts.append(data[start:end])
        if index == 0 and has_jfif:
            parts.append(ours)
    return b"".join(parts)


# -- WebP -----------------------------------------------------------------------------------


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its body begins and ends."""
    whole = 8 + int.from_bytes(data[4:8], "little")
    if whole > len(data):
        raise _truncated("WebP")
    at = 12
    while at < whole:
        if at + 8 > whole:
            raise _truncated("WebP")
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length
        if end > whole:
            raise _truncated("WebP")
        yield kind, at + 8, end
        at = end + (length & 1)


def _webp_exif(data: bytes) -> bytes:
    for kind, start, end in _webp_chunks(data):
        if kind == b"EXIF":
            return data[start:end].removeprefix(_EXIF)
    return b""


def _webp_with(data: bytes, fields: Mapping[str, str]) -> bytes:
    chunks = [(kind, data[start:end]) for kind, start, end in _webp_chunks(data)]
    exif = _exif_with(_webp_exif(data), fields)
    kept = [chunk for chunk in chunks if chunk[0] not in {b"VP8X", b"EXIF"}]
    header = bytearray(next((body for kind, body in chunks if kind == b"VP8X"), b""))
    if not header:
        header = bytearray(_webp_header(kept))
    if len(header) < 10:
        raise _truncated("WebP")
    header[0] |= 0x08  # says that there is EXIF
    # EXIF comes after the pixels, and before XMP where there is any.
    where = next((i for i, (kind, _) in enumerate(kept) if kind == b"XMP "), len(kept))
    chunks = [(b"VP8X", bytes(header)), *kept[:where], (b"EXIF", exif), *kept[where:]]
    body = b"WEBP" + b"".join(_webp_chunk(kind, part) for kind, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def _webp_header(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Make the extended header that a simple WebP lacks."""
    for kind, body in chunks:
        if kind == b"VP8L" and len(body) >= 5:
            bits = int.from_bytes(body[1:5], "little")
            return _webp_vp8x(bits & 0x3FFF, bits >> 14 & 0x3FFF, alpha=bool(bits >> 28 & 1))
        if kind == b"VP8 " and len(body) >= 10:
            width, height = struct.unpack_from("<HH", body, 6)
            return _webp_vp8x((width & 0x3FFF) - 1, (height & 0x3FFF) - 1, alpha=False)
    raise _truncated("WebP")


def _webp_vp8x(width_less_one: int, height_less_one: int, *, alpha: bool) -> bytes:
    if width_less_one < 0 or height_less_one < 0:
        raise _truncated("WebP")
    size = width_less_one.to_bytes(3, "little") + height_less_one.to_bytes(3, "little")
    return bytes([0x10 if alpha else 0, 0, 0, 0]) + size


# -- EXIF -----------------------------------------------------------------------------------


def _exif_order(exif: bytes) -> str:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        raise _truncated("EXIF part of the")
    return order


def _exif_entries(exif: bytes, at: int = 0) -> tuple[list[bytes], bytes]:
    """Return the 12-byte entries of a directory, the first by default, and the 4 bytes after."""
    order = _exif_order(exif)
    at = at or struct.unpack_from(order + "I", exif, 4)[0]
    if at + 2 > len(exif):
        raise _truncated("EXIF part of the")
    (count,) = struct.unpack_from(order + "H", exif, at)
    end = at + 2 + 12 * count
    if count > _MAX_TAGS or end > len(exif):
        raise _truncated("EXIF part of the")
    entries = [exif[start : start + 12] for start in range(at + 2, end, 12)]
    return entries, exif[end : end + 4].ljust(4, b"\0")


def _exif_fields(exif: bytes) -> dict[str, str]:
    """Return our fields: of the first directory, where Fooocus has them, or of EXIF's own."""
    exif = exif.removeprefix(_EXIF)
    order = _exif_order(exif)
    entries = _exif_entries(exif)[0]
    fields = _directory_fields(exif, entries)
    for entry in entries:
        tag, _, _, at = struct.unpack_from(order + "HHII", entry)
        if tag == _EXIF_DIRECTORY and at and "parameters" not in fields:
            own = _directory_fields(exif, _exif_entries(exif, at)[0])
            fields = {**own, **fields}
    # A MakerNote is the camera's, unless it is one of these words.
    if fields.get("fooocus_scheme", "").casefold() not in _KNOWN_SCHEMES:
        fields.pop("fooocus_scheme", None)
    return {name: text for name, text in fields.items() if text or name != "parameters"}


def _directory_fields(exif: bytes, entries: list[bytes]) -> dict[str, str]:
    order = _exif_order(exif)
    names = {tag: name for name, tag in EXIF_TAGS.items()}
    fields = {}
    for entry in entries:
        tag, kind, count = struct.unpack_from(order + "HHI", entry)
        if tag not in names or kind not in {1, _ASCII, _UNDEFINED}:
            continue
        if count <= 4:
            value = entry[8 : 8 + count]
        else:
            (at,) = struct.unpack_from(order + "I", entry, 8)
            if at + count > len(exif):
                raise _truncated("EXIF part of the")
            value = exif[at : at + count]
        if names[tag] == "parameters":
            _sized(value)
        elif count > _MAX_WORD:
            continue
        fields[names[tag]] = _exif_text(value)
        if names[tag] == "parameters" and fields["parameters"].isascii():
            fields["charset"] = "ascii"
    return fields


def _exif_text(value: bytes) -> str:
    """Decode a text by its own bytes: whatever it is said to be, it may be UTF-8 or UTF-16."""
    if value[:8] in _CHARSETS:
        value = value[8:]
    for bom, charset in _BOMS.items():
        if value.startswith(bom):
            return value[len(bom) :].decode(charset, errors="replace").rstrip("\0")
    # The labels of a record are ASCII, so in UTF-16 a good part of all bytes is 0, all of them at
    # odd places or all at even ones.
    content = value.rstrip(b"\0")
    even, odd = content[::2].count(0), content[1::2].count(0)
    if max(even, odd) > len(content) // 8:
        charset = "utf-16-be" if even > odd else "utf-16-le"
        return value[: len(value) // 2 * 2].decode(charset, errors="replace").rstrip("\0")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _exif_with(exif: bytes, fields: Mapping[str, str]) -> bytes:
    """Return EXIF with these fields.

    What is there stays where it is, because other entries point into it; a new first directory
    goes to the end. Where only our own tags were there, it is written anew instead, so that
    nothing of the old text is left behind.
    """
    ours = {EXIF_TAGS[name] for name in EXIF_TAGS}
    entries, following, order, base = [], b"\0\0\0\0", ">", b"MM\0*\0\0\0\x08"
    if exif:
        order = _exif_order(exif)
        found, following = _exif_entries(exif)
        entries = [e for e in found if struct.unpack_from(order + "H", e)[0] not in ours]
        if entries or following != b"\0\0\0\0":
            base = exif + b"\0" * (len(exif) & 1)
    texts = sorted((EXIF_TAGS[name], _encode(text) + b"\0") for name, text in fields.items())
    start = len(base)
    blob = b""
    blob_at = start + 2 + 12 * (len(entries) + len(texts)) + 4
    for tag, text in texts:
        if len(text) <= 4:
            value = text.ljust(4, b"\0")
        else:
            value = struct.pack(order + "I", blob_at + len(blob))
            blob += text + b"\0" * (len(text) & 1)
        entries.append(struct.pack(order + "HHI", tag, _ASCII, len(text)) + value)
    entries.sort(key=lambda entry: int(struct.unpack_from(order + "H", entry)[0]))
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + following
    return base[:4] + struct.pack(order + "I", start) + base[8:] + directory + blob
