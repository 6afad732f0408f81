"""Images that a user gives, turned into the data URIs that Gradio takes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fooocus_nb._background import run_sync
from fooocus_nb._secrets import redact
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.given import path_of
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.transport.data_uris import decode_data_uri, encode_data_uri, is_data_uri
from fooocus_nb.fooocus.transport.login import split_login

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    import PIL.Image

    #: Returns the bytes behind an address; the first argument is the parameter that they are for.
    Fetch = Callable[[str, str], bytes]

__all__ = [
    "check_sizes",
    "download",
    "encode_image",
    "encode_mask",
    "encode_masked",
    "image_and_mask",
    "image_source",
    "is_empty_mask",
    "is_url",
    "open_data_uri",
    "refuse_url",
    "why_unreadable",
]

_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_OBJECT = re.compile(r" <[\w.]+ object at 0x[0-9a-fA-F]+>")
#: Seconds between two pieces of an image that is fetched from a web address, and for all of it,
#: the way to it included.
TIMEOUT = 30.0
WHOLE_TIMEOUT = 120.0
MAX_REDIRECTS = 5
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
#: Brighter pixels of a mask are painted, as in Fooocus.
PAINTED = 127
#: What has eight bits a channel and can be a PNG.
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_CONVERTIBLE = frozenset({"CMYK", "HSV", "LAB", "YCbCr", "La", "PA", "RGBX", "RGBa"})
#: The EXIF orientations that turn an image by 90 degrees.
_ORIENTATION, _TURNED = 0x0112, frozenset({5, 6, 7, 8})


# -- web addresses ----------------------------------------------------------------------------


def is_url(value: Any) -> bool:
    """Whether a value is a text that begins as a web address does."""
    return isinstance(value, str) and _URL.match(value) is not None


def refuse_url(name: str, url: str) -> NoReturn:
    """Raise, with how to allow web addresses."""
    msg = (
        f"{name}={_short(url)!r} is a web address, and nothing is fetched from the network unless "
        "you allow it: set engine.allow_urls = True, or save the image and give its path."
    )
    raise ParameterError(msg)


def download(name: str, url: str, *, private: bool = False) -> bytes:
    """Fetch an image from the web; from private networks only where that is allowed."""
    try:
        return run_sync(_downloaded(name, url, private), WHOLE_TIMEOUT)
    except TimeoutError as error:
        msg = f"{name}={_short(url)!r} did not come within {WHOLE_TIMEOUT:g} s."
        raise ParameterError(msg) from error


async def _downloaded(name: str, url: str, private: bool) -> bytes:
    import httpx

    # Apart from the address, since httpx's own errors show all of that.
    bare, login = split_login(url)
    auth = httpx.BasicAuth(login.user, login.secret) if login else None
    try:
        first = target = httpx.URL(bare)
        async with httpx.AsyncClient(
            timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                same = (target.scheme, target.netloc) == (first.scheme, first.netloc)
                # To the very address that was looked at: asked again, a name may lead elsewhere.
                request = client.build_request(
                    "GET",
                    target.copy_with(host=await _address_of(name, target, private)),
                    headers={"Host": target.netloc.decode("ascii")},
                    extensions={"sni_hostname": target.host},
                )
                answer = await client.send(request, stream=True, auth=auth if same else None)
                async with contextlib.aclosing(answer):
                    if answer.has_redirect_location:
                        target = target.join(answer.headers["location"])
                        continue
                    if answer.status_code != 200:
                        msg = f"{name}={_short(url)!r} cannot be fetched: {answer.status_code}."
                        raise ParameterError(msg)
                    return await _limited(name, url, answer)
    # An ImportError says what a proxy that the environment names would take.
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        OSError,
        OverflowError,
        ValueError,
        ImportError,
    ) as error:
        if isinstance(error, ParameterError):
            raise
        msg = f"{name}={_short(url)!r} cannot be fetched: {error}."
        raise ParameterError(msg) from error
    msg = f"{name}={_short(url)!r} cannot be fetched: it redirects more than {MAX_REDIRECTS} times."
    raise ParameterError(msg)


async def _limited(name: str, url: str, answer: httpx.Response) -> bytes:
    limit = max_file_bytes()
    data = io.BytesIO()
    async for part in answer.aiter_raw():
        data.write(part)
        if data.tell() > limit:
            msg = f"{name}={_short(url)!r} is larger than {limit / 1e6:g} MB."
            raise ParameterError(msg)
    return data.getvalue()


async def _address_of(name: str, url: httpx.URL, private: bool) -> str:
    """Return where a host is; other schemes, and addresses that are not public, are refused."""
    if url.scheme not in ("http", "https"):
        msg = f"{name}={_short(str(url))!r}: only http and https can be fetched."
        raise ParameterError(msg)
    port = url.port or (443 if url.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    found = [str(address[0]) for *_, address in answers]
    for each in found:
        address = ipaddress.ip_address(each.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not private and not (mapped or address).is_global:
            msg = (
                f"{name}={_short(str(url))!r} is on this machine or in a private network, which "
                "is not reached unless you allow it: set engine.allow_private_urls = True."
            )
            raise ParameterError(msg)
    # Many machines have addresses of the newer kind without a way to them.
    return next((each for each in found if ":" not in each), found[0])


def _short(url: str) -> str:
    url = redact(url)  # before it is cut: half a secret would not be known any more
    return url if len(url) <= 100 else url[:97] + "..."


# -- images -----------------------------------------------------------------------------------


def image_source(name: str, value: Any) -> Any:
    """Return the file of an image that has one, else the value; refuse what is only a hash."""
    if isinstance(getattr(value, "path", None), Path):
        value = value.path
    if isinstance(value, str) and _FINGERPRINT.fullmatch(value):
        msg = f"{name}= was an image in memory, of which only the hash was kept: give it again."
        raise ParameterError(msg)
    return value


def encode_image(name: str, value: Any, fetch: Fetch = refuse_url) -> str:
    """Return an image as it is sent."""
    if isinstance(value, str) and is_data_uri(value):
        return value
    value = image_source(name, value)
    given = f"{name}="
    if is_url(value):
        value = fetch(name, value)
    if isinstance(value, (str, os.PathLike)):
        place = path_of(name, value, ParameterError)
        given, value = f"{name}={str(place)!r}", _read(name, place)
    if isinstance(value, (bytes, bytearray)):
        return _from_bytes(given, bytes(value))
    return _from_image(name, value)


def encode_masked(name: str, value: Any, fetch: Fetch = refuse_url) -> dict[str, str]:
    """Return an image and what is painted over it, as they are sent."""
    image, mask = image_and_mask(name, value)
    encoded = encode_image(name, image, fetch)
    if mask is None:
        # The engine's worker would crash without one.
        return {"image": encoded, "mask": _blank(_size(name, encoded))}
    painted = encode_mask(name, mask, fetch)
    check_sizes(name, encoded, painted)
    return {"image": encoded, "mask": painted}


def encode_mask(name: str, value: Any, fetch: Fetch = refuse_url) -> str:
    """Return a mask as it is sent."""
    if hasattr(value, "mask_png"):
        value = value.mask  # a MaskEditor stands for what is painted in it
    mask = open_data_uri(name, encode_image(name, value, fetch))
    return _from_image(name, _black_and_white(name, mask).convert("RGB"))


def check_sizes(name: str, image: str, mask: str) -> None:
    """Refuse a mask of another size than its image."""
    size, other = _size(name, image), _size(name, mask)
    if size != other:
        sizes = f"{other[0]}x{other[1]}, its image {size[0]}x{size[1]}"
        msg = f"{name}= has a mask of another size than its image: the mask is {sizes}."
        raise ParameterError(msg)


def image_and_mask(name: str, value: Any) -> tuple[Any, Any]:
    """Return an image and its mask."""
    if isinstance(value, dict):
        if set(value) - {"mask"} != {"image"}:
            msg = f"{name}= must be an image, or have an 'image' and a 'mask'."
            raise ParameterError(msg)
        return value["image"], value.get("mask")
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            msg = f"{name}= must be an image, or a pair of an image and its mask."
            raise ParameterError(msg)
        return value[0], value[1]
    return value, None


def _black_and_white(name: str, mask: PIL.Image.Image) -> PIL.Image.Image:
    """Return a mask of two colours; what is transparent is not painted."""
    from PIL import Image

    if mask.mode not in _MODES:
        msg = f"{name}= has a mask of mode {mask.mode}, but it must be of 8 bits: 1, L, RGB, RGBA."
        raise ParameterError(msg)
    if mask.mode in ("LA", "P", "RGBA"):
        layer = mask.convert("RGBA")
        mask = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return mask.convert("L").point([0] * (PAINTED + 1) + [255] * (255 - PAINTED))


def is_empty_mask(uri: str, *, inverted: bool = False) -> bool:
    """Whether a mask, as it is sent, leaves nothing to paint."""
    low, high = open_data_uri("mask", uri).convert("L").getextrema()
    return bool(low > PAINTED) if inverted else bool(high <= PAINTED)  # type: ignore[operator]


def open_data_uri(name: str, uri: str) -> PIL.Image.Image:
    """Return the image in a data URI, its pixels loaded."""
    from PIL import Image

    decoded = decode_data_uri(uri)
    try:
        with Image.open(io.BytesIO(decoded[0] if decoded else b"")) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{name}= is not an image that can be read: {why_unreadable(error)}."
        raise ParameterError(msg) from error


def _size(name: str, uri: str) -> tuple[int, int]:
    """Return width and height after the EXIF rotation, which the engine applies."""
    from PIL import Image

    decoded = decode_data_uri(uri)
    try:
        with Image.open(io.BytesIO(decoded[0] if decoded else b"")) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{name}= is not an image that can be read: {why_unreadable(error)}."
        raise ParameterError(msg) from error
    return (height, width) if turned else (width, height)


def _blank(size: tuple[int, int]) -> str:
    from PIL import Image

    return _from_image("mask", Image.new("RGB", size))


def _read(name: str, path: Path) -> bytes:
    try:
        return read_plain_file(path.expanduser(), max_file_bytes())
    except (OSError, RuntimeError, ValueError) as error:  # an unknown user's home
        reason = getattr(error, "strerror", None) or error
        msg = f"{name}={os.fspath(path)!r} cannot be read: {reason}."
        raise ParameterError(msg) from error


def why_unreadable(error: Exception) -> str:
    """Return what Pillow says of a file that is no image, without the name of an object."""
    return _OBJECT.sub("", str(getattr(error, "strerror", None) or error))


def _from_bytes(given: str, data: bytes) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "EPS":  # Pillow would let Ghostscript run it
                msg = "an EPS is a program; save it as PNG"
                raise ValueError(msg)
            image.verify()
            mime = Image.MIME.get(image.format or "", "image/png")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        msg = f"{given} is not an image that can be read: {why_unreadable(error)}."
        raise ParameterError(msg) from error
    return encode_data_uri(data, mime)


def _from_image(name: str, value: Any) -> str:
    from PIL import Image

    try:
        image = value if isinstance(value, Image.Image) else Image.fromarray(value)
    except Exception as error:  # any object may be given
        msg = (
            f"{name}= is a {type(value).__name__}, but must be a path, bytes, a PIL image or an "
            "array of 8-bit pixels."
        )
        raise ParameterError(msg) from error
    if 0 in image.size:
        msg = f"{name}= has no pixels: its size is {image.width}x{image.height}."
        raise ParameterError(msg)
    if image.mode in _CONVERTIBLE:
        image = image.convert("RGB")
    if image.mode not in _MODES:
        msg = f"{name}= has pixels of mode {image.mode}, but they must have 8 bits a channel."
        raise ParameterError(msg)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return encode_data_uri(buffer.getvalue(), "image/png")
