"""Keeping, listing and letting go of an engine by magics."""

from __future__ import annotations

import fooocus_nb


def test_an_engine_is_kept_listed_let_go_of_and_found_again(new_notebook, tmp_path, monkeypatch):
    environment = {
        "FOOOCUS_NB_RUNTIME_DIR": str(tmp_path / "runtime"),
        "FOOOCUS_DEMO_STEP_SECONDS": "0",
    }
    notebook = new_notebook(**environment)
    assert "No engine of yours runs" in notebook.run("%fooocus ps").bundles[0]["text/plain"]
    told = notebook.run("%fooocus start --demo --keep --idle-timeout 60").bundles[-1]["text/plain"]
    assert "is ready as 'demo'" in told
    assert "kept until it idles for" in told
    pid = notebook.value("__import__('fooocus_nb').current().pid")
    table = notebook.run("%fooocus ps").bundles[0]
    assert str(pid) in table["text/plain"]
    assert "detached" in table["text/plain"]
    assert str(pid) in table["text/html"]
    again = notebook.run("%fooocus start --demo --keep").bundles[-1]["text/plain"]
    assert "runs already: attached as 'demo'" in again
    assert "goes on" in notebook.run("%fooocus detach").text
    found = notebook.run("%fooocus start --demo").bundles[-1]["text/plain"]
    assert "runs already: attached as 'demo'" in found
    assert f"pid {pid}" in found
    assert "is stopped" in notebook.run("%fooocus stop").text
    assert "No engine of yours runs" in notebook.run("%fooocus ps").bundles[0]["text/plain"]
    cell = notebook.run("%fooocus start --demo --keep --new", fails=True)
    assert "contradict" in cell.error
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with fooocus_nb.start(demo=True, share=True, output_dir=tmp_path, timeout=60) as engine:
        assert "attached" in notebook.run("%fooocus start --demo").bundles[-1]["text/plain"]
        assert "goes on for its other users" in notebook.run("%fooocus stop").text
        assert engine.health().ok
