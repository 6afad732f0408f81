"""What an engine has to choose from: models, styles, presets; and loading and renewing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb.engine.queries import Questions
from fooocus_nb.fooocus.schema.calls import PRESET
from fooocus_nb.fooocus.schema.parameters import Catalogue, ParameterDiff, plain
from fooocus_nb.fooocus.schema.updates import updated_defaults as answered_defaults
from fooocus_nb.fooocus.schema.updates import with_choices as answered_files
from fooocus_nb.fooocus.schema.updates import with_defaults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.calls import Call

__all__ = ["Catalogues"]


class Catalogues(Questions):
    """The properties of an Engine that list what can be chosen, and its presets."""

    #: The preset that was loaded and its values, to be loaded again after a restart.
    _loaded: tuple[str, Mapping[str, Any]] | None = None

    @property
    def models(self) -> Catalogue:
        """The files of base models."""
        return self._choices("base_model")

    @property
    def loras(self) -> Catalogue:
        """The files of LoRAs."""
        return Catalogue(name for name in self._choices("lora_1_model") if name != "None")

    @property
    def styles(self) -> Catalogue:
        """The styles, ``Random Style`` among them where the server has it."""
        return self._choices("style_selections")

    @property
    def samplers(self) -> Catalogue:
        """The samplers."""
        return self._choices("sampler_name")

    @property
    def schedulers(self) -> Catalogue:
        """The schedulers."""
        return self._choices("scheduler_name")

    @property
    def performances(self) -> Catalogue:
        """The performance modes, such as ``Speed`` or ``Lightning``."""
        return self._choices("performance_selection")

    @property
    def aspect_ratios(self) -> Catalogue:
        """The sizes that the page offers, such as ``1152x896``."""
        return Catalogue(
            plain(choice).split(" ")[0] for choice in self._choices("aspect_ratios_selection")
        )

    @property
    def presets(self) -> Catalogue:
        """The presets; none on a server that does not let one choose."""
        call = self._client.schema.verbs.get(PRESET)
        return Catalogue(call.own[PRESET].choices or () if call else ())

    @property
    def current_preset(self) -> str | None:
        """The preset that the defaults come from; None where the server does not say."""
        call = self._client.schema.verbs.get(PRESET)
        return None if call is None else call.own[PRESET].default

    def preset(self, name: str) -> ParameterDiff:
        """Load a preset: what it sets is the default of the generations that follow.

        The server may have to download the preset's models first, which takes its time.

        Parameters
        ----------
        name : str
            One of :attr:`presets`.

        Returns
        -------
        ParameterDiff
            The parameters whose defaults have changed, before and now; shows as a table.

        Raises
        ------
        ParameterError
            When there is no such preset.
        UnsupportedServer
            When this server does not let one choose.
        EngineError
            When the engine fails to load it.
        """
        values = self._checked(PRESET, {PRESET: name})
        return self._ask(PRESET, values, lambda call, answer: self._load(call, answer, values))

    async def apreset(self, name: str) -> ParameterDiff:
        """Load a preset and await it; see :meth:`preset`."""
        values = self._checked(PRESET, {PRESET: name})
        return await self._aask(
            PRESET, values, lambda call, answer: self._load(call, answer, values)
        )

    def refresh(self) -> ParameterDiff:
        """Let the engine look for new model files.

        Returns
        -------
        ParameterDiff
            The parameters whose choices have changed, before and now; shows as a table.

        Raises
        ------
        EngineError
            When the engine fails.
        """
        return self._ask("refresh", {}, self._renew)

    async def arefresh(self) -> ParameterDiff:
        """Let the engine look for new model files and await it; see :meth:`refresh`."""
        return await self._aask("refresh", {}, self._renew)

    def _choices(self, name: str) -> Catalogue:
        parameter = self._client.schema.parameters.get(name)
        return Catalogue(parameter.choices or () if parameter else ())

    def _load(self, call: Call, answer: list[Any], values: Mapping[str, Any]) -> ParameterDiff:
        name = str(values[PRESET])
        defaults = answered_defaults(self._client.schema, call, answer)
        # What a preset leaves alone is still as the one before has set it.
        earlier = self._loaded[1] if self._loaded else {}
        self._loaded = (name, {**earlier, **defaults})
        return self._become(with_defaults(self._client.schema, defaults, name), f"Preset {name}")

    def _renew(self, call: Call, answer: list[Any]) -> ParameterDiff:
        return self._become(answered_files(self._client.schema, call, answer), "Files")

    def _become(self, schema: Schema, title: str) -> ParameterDiff:
        """Take on another description of the server, and say what is different."""
        before, client = self._client.schema.parameters, self._client
        client.schema = schema
        return ParameterDiff(before, schema.parameters, sides=("before", "now"), title=title)

    def _adopt_preset(self) -> None:
        """Begin again with the preset that was loaded before the engine was restarted."""
        if self._loaded is not None and self._connected is not None:
            name, defaults = self._loaded
            self._connected.schema = with_defaults(self._connected.schema, defaults, name)
