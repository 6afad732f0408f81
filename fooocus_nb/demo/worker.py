"""The worker: one thread that makes the images, and what it logs and reports meanwhile."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
import traceback
from typing import TYPE_CHECKING

from PIL import Image

from fooocus_nb.demo.console import Bar, say
from fooocus_nb.demo.faults import Moment
from fooocus_nb.demo.inputs import Event, Task, encode
from fooocus_nb.demo.page import BASE_MODELS
from fooocus_nb.demo.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fooocus_nb.demo.faults import Faults
    from fooocus_nb.demo.files import Files

__all__ = ["Worker"]

#: The percentage at which sampling begins.
PREPARED = 6
#: How many previews an image of many steps has.
PREVIEWS = 8
PREVIEW_SIDE = 384
#: A task that asks for more must not fill memory and disk; the page's own slider ends here.
MAX_IMAGES = 32
_MODELS_FOLDER = "/models/checkpoints"


class _Interrupted(Exception):
    """A command came: to stop, or to skip the image in the making."""


class Worker:
    """Runs one task after the other, on a thread of its own."""

    def __init__(self, files: Files, faults: Faults, step_seconds: float) -> None:
        self._files = files
        self._faults = faults
        self._step_seconds = step_seconds
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread."""
        # The name is what Python says when the thread dies: "Exception in thread ... (worker)".
        name = "Thread-1 (worker)"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        say(f"Started worker with PID {os.getpid()}")
        thread.start()

    def add(self, task: Task) -> None:
        """Hand in a task."""
        self._tasks.put(task)

    def _work(self) -> None:
        self._faults.strike(Moment.WORKER_START)
        if self._faults.worker_is_deaf:
            return
        while True:
            task = self._tasks.get()
            self._faults.strike(Moment.TASK)
            try:
                self._generate(task)
            except Exception:  # noqa: BLE001 - as Fooocus does: print, and show what there is
                traceback.print_exc()
            task.events.put(Event("finish", paths=tuple(task.results)))

    # -- one task ---------------------------------------------------------------------------

    def _generate(self, task: Task) -> None:
        began = time.monotonic()
        _say_parameters(task)
        _report(task, 1, "Initializing ...")
        _report(task, 2, "Loading models ...")
        _load_models(task, self._files.models("checkpoints"))
        _prepare(task)
        width, height = task.size
        say("[Parameters] Denoising Strength = 1.0")
        say(f"[Parameters] Initial Latent shape: Image Space ({height}, {width})")
        say(f"Preparation time: {time.monotonic() - began:.2f} seconds")
        say(f"Using {task.values['scheduler']} scheduler.")
        self._make_images(task)
        if task.values["image_grid"] and len(task.results) > 1:
            task.results.append(self._save_grid(task))

    def _make_images(self, task: Task) -> None:
        began = time.monotonic()
        percent = PREPARED
        for index in range(min(task.count, MAX_IMAGES)):
            _report(task, percent, f"Preparing task {index + 1}/{task.count} ...")
            try:
                percent = self._make_image(task, index, percent)
            except _Interrupted as command:
                if str(command) == "stop":
                    say("User stopped")
                    break
                say("User skipped")
                task.command = ""
            self._faults.strike(Moment.IMAGE)
        if not task.images.enhances:
            say("[Enhance] Skipping, preconditions aren't met")
        say(f"Processing time (total): {time.monotonic() - began:.2f} seconds")

    def _make_image(self, task: Task, index: int, percent: int) -> int:
        """Make and save one image; return how much of the task is done then."""
        began = time.monotonic()
        say(f"[Sampler] refiner_swap_method = {task.values['swap_method']}")
        say("[Sampler] sigma_min = 0.0291671771556139, sigma_max = 14.614643096923828")
        image, percent = self._sample(task, index, percent)
        if self._faults.images_get_lost:
            return percent
        if task.images.enhances:
            self._enhance(task, index, image, percent)
        else:
            self._save(task, index, image, percent)
        say(f"Generating and saving time: {time.monotonic() - began:.2f} seconds")
        if task.count > 1 and not task.values["disable_intermediate"]:
            task.events.put(Event("results", paths=tuple(task.results)))
        return percent

    def _enhance(self, task: Task, index: int, image: Image.Image, percent: int) -> None:
        """Enhance an image and save it after each step, or after the last one only."""
        from fooocus_nb.demo.retouching import enhance_steps

        if task.images.only_enhances and self._faults.enhancing_fails:
            self._save(task, index, image, percent)  # as Fooocus does
            self._faults.strike(Moment.ENHANCEMENT)
            return
        final_only = bool(task.values.get("save_final_only"))
        if not (final_only or task.images.only_enhances):
            self._save(task, index, image, percent)
        for what, state, only_shown in enhance_steps(task, index, image):
            _report(task, percent, f"Enhancing image {index + 1}/{task.count}: {what} ...")
            _wait(task, time.monotonic() + self._step_seconds * task.steps / 4)
            image = image if only_shown else state
            if only_shown or not final_only:
                self._save(task, index, state, percent)
        if final_only:
            self._save(task, index, image, percent)

    def _save(self, task: Task, index: int, image: Image.Image, percent: int) -> None:
        _report(task, percent, f"Saving image {index + 1}/{task.count} to system ...")
        if task.values["black_out"] and "nsfw" in task.prompt.lower():
            image = Image.new("RGB", image.size)
        form = str(task.values["output_format"])
        logged = record(task, index, image.size)
        task.results.append(self._files.save(image, form, logged, task.scheme))

    def _sample(self, task: Task, index: int, before: int) -> tuple[Image.Image, int]:
        """Make an image, and show previews of it step by step as if it were sampled."""
        percent = before
        bar = Bar(task.steps)
        try:
            deadline = time.monotonic()
            # NumPy is imported here, on the worker's thread, so that the server answers sooner.
            from fooocus_nb.demo.drawing import sketch
            from fooocus_nb.demo.retouching import make_image

            image = self._faults.differences.applied(make_image(task, index), task)
            for step in range(1, task.steps + 1):
                deadline += self._step_seconds
                _wait(task, deadline)
                if step == (task.steps + 1) // 2:
                    self._faults.strike(Moment.GENERATION)
                bar.advance()
                done = index + step / task.steps
                percent = int(PREPARED + (100 - PREPARED) * done / task.count)
                shown = None
                if not task.values["disable_preview"] and step in _previews(task.steps):
                    seed = task.seed(index)
                    shown = encode(sketch(image, step / task.steps, seed, PREVIEW_SIDE))
                text = f"Sampling step {step}/{task.steps}, image {index + 1}/{task.count} ..."
                task.report(percent, text, shown)
            _wait(task, deadline + self._step_seconds)
        finally:
            bar.close()
        return image, percent

    def _save_grid(self, task: Task) -> Path:
        columns = math.ceil(math.sqrt(len(task.results)))
        rows = math.ceil(len(task.results) / columns)
        with Image.open(task.results[0]) as first:
            width, height = first.size
        grid = Image.new("RGB", (columns * width, rows * height))
        for number, path in enumerate(task.results):
            with Image.open(path) as image:
                grid.paste(image, (number % columns * width, number // columns * height))
        form = str(task.values["output_format"])
        return self._files.save(grid, form, record(task, 0, grid.size))


def _report(task: Task, percent: int, text: str) -> None:
    say(f"[Fooocus] {text}")
    task.report(percent, text)


def _say_parameters(task: Task) -> None:
    values = task.values
    if task.performance.distilled:
        say(f"Enter {task.performance.value} mode.")
    say(f"[Parameters] Adaptive CFG = {values['adaptive_cfg']}")
    say(f"[Parameters] CLIP Skip = {values['clip_skip']}")
    say(f"[Parameters] Sharpness = {task.sharpness}")
    say(f"[Parameters] ControlNet Softness = {values['softness']}")
    adm = (values[f"adm_{name}"] for name in ("positive", "negative", "end"))
    say(f"[Parameters] ADM Scale = {' : '.join(map(str, adm))}")
    say(f"[Parameters] Seed = {task.seed()}")
    say(f"[Parameters] CFG = {task.guidance}")
    say("[Fooocus] Loading control models ...")
    say(f"[Parameters] Sampler = {values['sampler']} - {values['scheduler']}")
    say(f"[Parameters] Steps = {task.steps} - {task.switch}")


def _load_models(task: Task, found: Sequence[str]) -> None:
    for name in (task.values["base_model"], task.values["refiner"]):
        if name not in (*BASE_MODELS, *found, "None"):
            msg = f'No such file or directory: "{_MODELS_FOLDER}/{name}"'
            raise FileNotFoundError(msg)
    if task.values["refiner"] == "None":
        say("Refiner unloaded.")


def _prepare(task: Task) -> None:
    _report(task, 3, "Processing prompts ...")
    numbers = range(1, min(task.count, MAX_IMAGES) + 1)
    for number in numbers:
        expansion = task.expansion(number - 1)
        if expansion:
            _report(task, 4, f"Preparing Fooocus text #{number} ...")
            say(f"[Prompt Expansion] {expansion}")
    for number in numbers:
        _report(task, 5, f"Encoding positive #{number} ...")
    for number in numbers:
        _report(task, PREPARED, f"Encoding negative #{number} ...")


def _wait(task: Task, deadline: float) -> None:
    """Wait until a deadline; raise when a command comes meanwhile."""
    while True:
        if task.command:
            raise _Interrupted(task.command)
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.05))


def _previews(steps: int) -> Iterator[int]:
    """Yield the steps that are shown: all of a few, some of many, the first and the last."""
    if steps <= PREVIEWS:
        return iter(range(1, steps + 1))
    return (1 + number * (steps - 1) // (PREVIEWS - 1) for number in range(PREVIEWS))
