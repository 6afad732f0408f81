"""What a frontend is sent of a widget."""

from __future__ import annotations

import ipywidgets

from fooocus_nb.widgets.display_backends import VIEW_MIME, widget_bundle


class OldBox(ipywidgets.VBox):
    """A box as that of ipywidgets 7, which hosted notebooks have: without a bundle of its own."""

    _repr_mimebundle_ = None


def test_a_widget_without_a_bundle_is_shown_by_its_model():
    box = OldBox()
    data, _ = widget_bundle(box)
    assert data == {VIEW_MIME: {"version_major": 2, "version_minor": 0, "model_id": box.model_id}}
