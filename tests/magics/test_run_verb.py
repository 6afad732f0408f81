"""``%fooocus run``: what cells generate while a run is open becomes part of it."""

from __future__ import annotations


def test_open_generate_close(notebook, tmp_path):
    folder = tmp_path / "runs" / "lighthouse"
    assert "No run is open" in notebook.run("%fooocus run").text
    cell = notebook.run(f"%fooocus run open {folder} -o run")
    assert f"Run {folder}: 0 images, records what this kernel generates." in cell.text
    notebook.run("%%fooocus -n 2 --seed 7 --steps 2 --size 64x64 -o result\na lighthouse")
    assert notebook.value("[image.seed for image in run.images]") == [7, 8]
    assert "2 images" in notebook.run("%fooocus run").shown
    assert "2 images, closed." in notebook.run("%fooocus run close").text
    notebook.run("%fooocus --steps 2 --size 64x64 -n 1 another")
    assert notebook.value("len(run.images)") == 2
    assert len(list((folder / "manifests").iterdir())) == 1
    # It is a word that prompts begin with, too.
    cell = notebook.run("%fooocus run through the rain", fails=True)
    assert "%fooocus generate run through" in cell.text
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("x")
    cell = notebook.run(f"%fooocus run open {tmp_path / 'photos'}", fails=True)
    assert "is no run" in cell.error
    assert "Traceback" not in cell.error
