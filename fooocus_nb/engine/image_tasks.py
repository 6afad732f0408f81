"""What an engine does with a picture: each verb is one generation with a task of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.engine._parts import EngineParts
from fooocus_nb.fooocus.requests.tasks import EnhanceImage, Inpaint, Outpaint, Upscale, Vary
from fooocus_nb.results import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fooocus_nb.fooocus.requests.tasks import Enhance, Task
    from fooocus_nb.results import Result

__all__ = ["ImageVerbs", "prompt_of"]


class ImageVerbs(EngineParts):
    """The methods of an Engine that begin with a picture.

    Each is ``generate(prompt, task=...)``, and so ``submit(prompt, task=...)`` gives the same as
    a Job.
    """

    def upscale(
        self, image: Any, by: str | float = "2x", prompt: str | None = None, **parameters: Any
    ) -> Result:
        """Make a picture larger.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        by : {"1.5x", "2x", "fast 2x"} or number
            How much; the first two draw details anew. Default ``"2x"``.
        prompt : str, optional
            What it shows. By default what made it, for an :class:`~fooocus_nb.Image`; else nothing.
        **parameters
            As :meth:`Engine.generate` takes them. ``image_number`` is 1 unless it is given.

        Returns
        -------
        Result
            The larger picture.

        Raises
        ------
        ParameterError, GenerationError
            As :meth:`Engine.generate` does.
        """
        return self._do(image, prompt, Upscale(image, by), parameters)

    async def aupscale(
        self, image: Any, by: str | float = "2x", prompt: str | None = None, **parameters: Any
    ) -> Result:
        """Make a picture larger and await it; see :meth:`upscale`."""
        return await self._ado(image, prompt, Upscale(image, by), parameters)

    def vary(
        self, image: Any, strength: str = "subtle", prompt: str | None = None, **parameters: Any
    ) -> Result:
        """Draw a picture anew, more or less alike.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
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
        return self._do(image, prompt, Vary(image, strength), parameters)

    async def avary(
        self, image: Any, strength: str = "subtle", prompt: str | None = None, **parameters: Any
    ) -> Result:
        """Vary a picture and await it; see :meth:`vary`."""
        return await self._ado(image, prompt, Vary(image, strength), parameters)

    def inpaint(
        self,
        image: Any,
        mask: Any,
        prompt: str | None = None,
        *,
        mode: str = "inpaint",
        outpaint: str | Iterable[str] = (),
        invert: bool = False,
        **parameters: Any,
    ) -> Result:
        """Draw a part of a picture anew.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        mask : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            Of the same size: white is drawn anew, black is kept. An array may be of booleans.
        prompt : str, optional
            What to draw there. By default what made the picture, for an
            :class:`~fooocus_nb.Image`; else nothing.
        mode : {"inpaint", "detail", "modify"}
            Draw what is masked anew (the default), improve its details, or put something else
            there.
        outpaint : iterable of {"left", "right", "top", "bottom"}
            The sides to which the picture is extended as well. Default none.
        invert : bool
            Draw what is black anew instead. Default False.
        **parameters
            As :meth:`Engine.generate` takes them, such as ``inpaint_strength=0.8``.

        Returns
        -------
        Result
            The pictures.

        Raises
        ------
        ParameterError
            When the mask is missing, empty or of another size; else as :meth:`Engine.generate`.
        GenerationError
            When the engine failed.
        """
        task = Inpaint(image, mask, mode, outpaint, invert)
        return self._do(image, prompt, task, parameters)

    async def ainpaint(
        self,
        image: Any,
        mask: Any,
        prompt: str | None = None,
        *,
        mode: str = "inpaint",
        outpaint: str | Iterable[str] = (),
        invert: bool = False,
        **parameters: Any,
    ) -> Result:
        """Draw a part of a picture anew and await it; see :meth:`inpaint`."""
        task = Inpaint(image, mask, mode, outpaint, invert)
        return await self._ado(image, prompt, task, parameters)

    def outpaint(
        self,
        image: Any,
        sides: str | Iterable[str] = ("left", "right", "top", "bottom"),
        prompt: str | None = None,
        **parameters: Any,
    ) -> Result:
        """Extend a picture beyond its sides.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        sides : iterable of {"left", "right", "top", "bottom"}
            Where to. Default all four.
        prompt : str, optional
            What to draw there. By default what made the picture, for an
            :class:`~fooocus_nb.Image`; else nothing.
        **parameters
            As :meth:`Engine.generate` takes them.

        Returns
        -------
        Result
            The larger pictures.

        Raises
        ------
        ParameterError, GenerationError
            As :meth:`Engine.generate` does.
        """
        return self._do(image, prompt, Outpaint(image, sides), parameters)

    async def aoutpaint(
        self,
        image: Any,
        sides: str | Iterable[str] = ("left", "right", "top", "bottom"),
        prompt: str | None = None,
        **parameters: Any,
    ) -> Result:
        """Extend a picture and await it; see :meth:`outpaint`."""
        return await self._ado(image, prompt, Outpaint(image, sides), parameters)

    def enhance(
        self,
        image: Any,
        enhancements: Sequence[Enhance] = (),
        prompt: str | None = None,
        *,
        upscale: str | float | None = None,
        vary: str | None = None,
        **parameters: Any,
    ) -> Result:
        """Improve parts of a picture, which are found by what they show.

        To improve what is generated, give ``enhance=[Enhance(...)]`` to :meth:`Engine.generate`.

        Parameters
        ----------
        image : path-like, bytes, PIL.Image.Image, numpy.ndarray or Image
            The picture.
        enhancements : sequence of Enhance
            What to improve, in order, such as ``[Enhance(detect="face")]``.
        prompt : str, optional
            What the picture shows. By default what made it, for an :class:`~fooocus_nb.Image`.
        upscale : {"1.5x", "2x", "fast 2x"}, optional
            Make it larger as well.
        vary : {"subtle", "strong"}, optional
            Vary it as well; not together with `upscale`.
        **parameters
            As :meth:`Engine.generate` takes them.

        Returns
        -------
        Result
            The picture after each of them, the best last.

        Raises
        ------
        ParameterError
            When there is nothing to do, or more of them than this server has tabs for; else as
            :meth:`Engine.generate`.
        GenerationError
            When the engine failed.
        """
        return self._do(image, prompt, EnhanceImage(image, enhancements, upscale, vary), parameters)

    async def aenhance(
        self,
        image: Any,
        enhancements: Sequence[Enhance] = (),
        prompt: str | None = None,
        *,
        upscale: str | float | None = None,
        vary: str | None = None,
        **parameters: Any,
    ) -> Result:
        """Improve parts of a picture and await it; see :meth:`enhance`."""
        task = EnhanceImage(image, enhancements, upscale, vary)
        return await self._ado(image, prompt, task, parameters)

    def _do(self, image: Any, prompt: str | None, task: Task, more: dict[str, Any]) -> Result:
        return self.generate(_prompt(image, prompt), task=task, **more)

    async def _ado(
        self, image: Any, prompt: str | None, task: Task, more: dict[str, Any]
    ) -> Result:
        return await self.agenerate(_prompt(image, prompt), task=task, **more)


def _prompt(image: Any, prompt: str | None) -> str:
    return prompt_of(image) if prompt is None else prompt


def prompt_of(image: Any) -> str:
    """Return the prompt that made a picture.

    Parameters
    ----------
    image : object
        Any picture.

    Returns
    -------
    str
        Empty where it is not one of our images.
    """
    return str(image.parameters.get("prompt", "")) if isinstance(image, Image) else ""
