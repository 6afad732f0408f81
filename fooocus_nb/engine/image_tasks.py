"""What an engine does with an image: each verb is one generation with a task of its own."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from fooocus_nb._background import twins
from fooocus_nb.engine.presenters import wait_shown
from fooocus_nb.fooocus.requests.tasks import EnhanceImage, Inpaint, Outpaint, Upscale, Vary
from fooocus_nb.results import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fooocus_nb.engine.jobs.job import Job
    from fooocus_nb.fooocus.requests.tasks import Enhance

__all__ = ["ImageTasks", "prompt_of"]


class ImageTasks(abc.ABC):
    """The methods of an Engine that begin with an image.

    Each is ``generate(prompt, task=...)``, and so ``submit(prompt, task=...)`` gives the same as
    a Job.
    """

    @abc.abstractmethod
    def submit(self, prompt: str = "", **parameters: Any) -> Job:
        """Submit a generation and return at once."""

    def _upscale(
        self, image: Any, by: str | float = "2x", prompt: str | None = None, **parameters: Any
    ) -> Job:
        """Upscale an image.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        by : {"1.5x", "2x", "fast 2x"} or number
            How much; the first two draw details again. Default ``"2x"``.
        prompt : str, optional
            What it shows. By default what made it, for an :class:`~fooocus_nb.Image`; else nothing.
        **parameters
            As :meth:`Engine.generate` takes them. ``image_number`` is 1 unless it is given.

        Returns
        -------
        Result
            The larger image.

        Raises
        ------
        ParameterError, GenerationError
            As :meth:`Engine.generate` does.
        """
        return self.submit(_prompt(image, prompt), task=Upscale(image, by), **parameters)

    upscale, aupscale = twins(_upscale, wait_shown)

    def _vary(
        self, image: Any, strength: str = "subtle", prompt: str | None = None, **parameters: Any
    ) -> Job:
        """Vary an image: draw it again, more or less alike.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        strength : {"subtle", "strong"}
            How much may change. Default ``"subtle"``.
        prompt : str, optional
            What to draw. By default what made it, for an :class:`~fooocus_nb.Image`; else nothing.
        **parameters
            As :meth:`Engine.generate` takes them.

        Returns
        -------
        Result
            The variations.

        Raises
        ------
        ParameterError, GenerationError
            As :meth:`Engine.generate` does.
        """
        return self.submit(_prompt(image, prompt), task=Vary(image, strength), **parameters)

    vary, avary = twins(_vary, wait_shown)

    def _inpaint(
        self,
        image: Any,
        mask: Any,
        prompt: str | None = None,
        *,
        mode: str = "inpaint",
        outpaint: str | Iterable[str] = (),
        invert: bool = False,
        **parameters: Any,
    ) -> Job:
        """Inpaint an image: draw a part of it again.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        mask : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            Of the same size: white is drawn again, black is kept. An array may be of booleans.
        prompt : str, optional
            What to draw there. By default what made the image, for an
            :class:`~fooocus_nb.Image`; else nothing.
        mode : {"inpaint", "detail", "modify"}
            Draw what is masked again (the default), improve its details, or put something else
            there.
        outpaint : iterable of {"left", "right", "top", "bottom"}
            The sides to which the image is extended as well. Default none.
        invert : bool
            Draw what is black again instead. Default False.
        **parameters
            As :meth:`Engine.generate` takes them, such as ``inpaint_strength=0.8``.

        Returns
        -------
        Result
            The images.

        Raises
        ------
        ParameterError
            When the mask is missing, empty or of another size; else as :meth:`Engine.generate`.
        GenerationError
            When the engine failed.
        """
        task = Inpaint(image, mask, mode, outpaint, invert)
        return self.submit(_prompt(image, prompt), task=task, **parameters)

    inpaint, ainpaint = twins(_inpaint, wait_shown)

    def _outpaint(
        self,
        image: Any,
        sides: str | Iterable[str] = ("left", "right", "top", "bottom"),
        prompt: str | None = None,
        **parameters: Any,
    ) -> Job:
        """Outpaint an image: extend it beyond its sides.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        sides : iterable of {"left", "right", "top", "bottom"}
            Where to. Default all four.
        prompt : str, optional
            What to draw there. By default what made the image, for an
            :class:`~fooocus_nb.Image`; else nothing.
        **parameters
            As :meth:`Engine.generate` takes them.

        Returns
        -------
        Result
            The larger images.

        Raises
        ------
        ParameterError, GenerationError
            As :meth:`Engine.generate` does.
        """
        return self.submit(_prompt(image, prompt), task=Outpaint(image, sides), **parameters)

    outpaint, aoutpaint = twins(_outpaint, wait_shown)

    def _enhance(
        self,
        image: Any,
        enhancements: Sequence[Enhance] = (),
        prompt: str | None = None,
        *,
        upscale: str | float | None = None,
        vary: str | None = None,
        **parameters: Any,
    ) -> Job:
        """Enhance parts of an image, which are found by what they show.

        To improve what is generated, give ``enhance=[Enhance(...)]`` to :meth:`Engine.generate`.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The image.
        enhancements : sequence of Enhance
            What to improve, in order, such as ``[Enhance(detect="face")]``.
        prompt : str, optional
            What the image shows. By default what made it, for an :class:`~fooocus_nb.Image`.
        upscale : {"1.5x", "2x", "fast 2x"}, optional
            Make it larger as well.
        vary : {"subtle", "strong"}, optional
            Vary it as well; not together with `upscale`.
        **parameters
            As :meth:`Engine.generate` takes them.

        Returns
        -------
        Result
            The image after each of them, the best last.

        Raises
        ------
        ParameterError
            When there is nothing to do, or more of them than this server has tabs for; else as
            :meth:`Engine.generate`.
        GenerationError
            When the engine failed.
        """
        return self.submit(
            _prompt(image, prompt),
            task=EnhanceImage(image, enhancements, upscale, vary),
            **parameters,
        )

    enhance, aenhance = twins(_enhance, wait_shown)


def _prompt(image: Any, prompt: str | None) -> str:
    return prompt_of(image) if prompt is None else prompt


def prompt_of(image: Any) -> str:
    """Return the prompt that made an image; empty where it is not one of ours."""
    return str(image.parameters.get("prompt", "")) if isinstance(image, Image) else ""
