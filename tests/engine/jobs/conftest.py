"""The real Gradio servers of the tests of `fooocus/`, for what happens when one is cut off."""

from __future__ import annotations

from ...fooocus.conftest import gradio3_server, modern_server, start_gradio3, start_modern

__all__ = ["gradio3_server", "modern_server", "start_gradio3", "start_modern"]
