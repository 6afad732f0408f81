"""Thumbnails of a folder of large images through the Jupyter server, beside the originals.

It makes the images first, 200 at 2 megapixels, and removes them at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import PIL.Image
import psutil

from benchmarks._table import Bound, Row
from fooocus_nb.engine.folders import RUNTIME_VARIABLE
from fooocus_nb.engine.grants import grant

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = 200
QUICK_IMAGES = 40
#: 2 megapixels, in a shape of SDXL.
WIDTH, HEIGHT = 1664, 1216
#: So many are drawn; the others are copies, in files of their own.
DISTINCT = 40
#: What a gallery shows at once in a notebook: three rows of five.
SCREEN = 15
#: As many as a browser opens to one host.
CONNECTIONS = 6
KINDS = ("png", "jpg")


def make(path: str) -> None:
    """Draw an image that compresses about as well as what an engine makes."""
    number = int(Path(path).stem)
    random = np.random.default_rng(number)
    small = random.integers(0, 255, (38, 52, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(small).resize((WIDTH, HEIGHT), PIL.Image.Resampling.BICUBIC)
    noise = random.normal(0, 4, (HEIGHT, WIDTH, 3))
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    # Pillow's default takes most of the time, and is not what is measured.
    options = {"compress_level": 1} if path.endswith("png") else {"quality": 95}
    PIL.Image.fromarray(pixels).save(path, **options)


def drop_from_cache(paths: list[Path]) -> None:
    """Let the system forget the files, so that each is read from the disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


@contextlib.contextmanager
def server(folder: Path):
    """Run a Jupyter server with this extension alone; yield its address, token and process."""
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = ("jupyterlab", "jupyter_lsp", "jupyter_server_proxy", "notebook", "notebook_shim")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root",
            f"--ServerApp.port={port}", f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={folder}",
            f"--ServerApp.jpserver_extensions={dict.fromkeys(others, False)}",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/fooocus-nb/api"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/status", params={"token": token}).status_code == 200:
                    break
            time.sleep(0.1)
        yield url, token, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def fetch(url: str, token: str, routes: list[str]) -> tuple[float, int]:
    """Fetch all as a browser does; return the seconds and the bytes."""
    gate = asyncio.Semaphore(CONNECTIONS)
    limits = httpx.Limits(max_connections=CONNECTIONS)
    headers = {"Authorization": f"token {token}"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=600) as client:

        async def one(route: str) -> int:
            async with gate:
                answer = await client.get(f"{url}{route}")
                answer.raise_for_status()
                return len(answer.content)

        await client.get(f"{url}/status")
        began = time.perf_counter()
        sizes = await asyncio.gather(*map(one, routes))
        return time.perf_counter() - began, sum(sizes)


def measure(kind: str, folder: Path, count: int) -> Iterator[Row]:
    """Yield what is found with one kind of file with a server of its own."""
    paths = [folder / f"{number}.{kind}" for number in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(make, map(str, paths[:DISTINCT]), chunksize=4))
    for number, path in enumerate(paths[DISTINCT:]):
        shutil.copyfile(paths[number % DISTINCT], path)
    routes = [f"/images/{grant(path)}" for path in paths]
    small = [f"{route}/thumbnail?size=320" for route in routes]
    with server(folder) as (url, token, process):
        before = process.memory_info().rss
        drop_from_cache(paths)
        spent = sum(process.cpu_times()[:2])
        first, first_bytes = asyncio.run(fetch(url, token, small[:SCREEN]))
        spent = sum(process.cpu_times()[:2]) - spent
        again, _ = asyncio.run(fetch(url, token, small[:SCREEN]))
        drop_from_cache(paths)
        original, original_bytes = asyncio.run(fetch(url, token, routes[:SCREEN]))
        asyncio.run(fetch(url, token, small))
        after = process.memory_info().rss
    for path in paths:
        path.unlink()
    what = f"a screen of {SCREEN} thumbnails of {kind.upper()} files at 2 megapixels"
    beside = "the originals"
    yield Row(f"{what}, cold: size", first_bytes / 1e6, "MB", beside, original_bytes / 1e6)
    yield Row(f"{what}, cold: time", first, "s", beside, original)
    yield Row(f"{what}, again: time", again, "s", beside, original)
    yield Row(f"{what}, cold: CPU of the server", spent, "s", "all of its time", first)
    yield Row(
        f"the server's memory after {count} thumbnails of {kind.upper()} files", after / 1e6,
        "MB", "before the first", before / 1e6, Bound("difference", 96),
    )  # fmt: skip


def rows(quick: bool) -> Iterator[Row]:
    """Yield what PNG and JPEG files cost."""
    with tempfile.TemporaryDirectory(prefix="fnb-thumbs-") as name:
        folder = Path(name)
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        former = os.environ.get(RUNTIME_VARIABLE)
        os.environ[RUNTIME_VARIABLE] = str(runtime)
        try:
            for kind in KINDS:
                yield from measure(kind, folder, QUICK_IMAGES if quick else IMAGES)
        finally:
            if former is None:
                del os.environ[RUNTIME_VARIABLE]
            else:
                os.environ[RUNTIME_VARIABLE] = former
