"""Tables: seeds as text through every export and back, formulas guarded, nothing for NaN."""

from __future__ import annotations

import csv
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fooocus_nb.errors import ConfigurationError, OutputError, ParameterError
from fooocus_nb.experiment.table import Table, guarded, unguarded

from ..lanes import examples

SEED = 6687881544318117707


@settings(deadline=None)
@given(st.text())
def test_a_guarded_text_is_no_formula_and_comes_back(text):
    assert not guarded(text).startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert unguarded(guarded(text)) == text


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 2**63 - 1)), max_size=5))
def test_csv_keeps_texts_and_seeds(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "run.csv"
    table = Table(["prompt", "seed"], [{"prompt": text, "seed": seed} for text, seed in rows])
    table.to_csv(path)
    again = Table.from_csv(path)
    cleaned = [text.encode("utf-8", "replace").decode() for text, _ in rows]
    assert again.column("prompt") == cleaned
    assert again.column("image_seed") == [str(seed) for _, seed in rows]


def test_a_prompt_that_is_a_formula_is_text_in_a_spreadsheet(made_run, tmp_path):
    run = made_run(prompt=["=HYPERLINK(1)", "-lighthouse", "a lighthouse"], image_seed=[SEED])
    run.table().to_csv(tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["prompt"] for row in rows] == ["'=HYPERLINK(1)", "'-lighthouse", "a lighthouse"]
    assert {row["seed"] for row in rows} == {str(SEED)}
    assert Table.from_csv(tmp_path / "run.csv").column("prompt")[0] == "=HYPERLINK(1)"


def test_negative_numbers_are_numbers():
    text = Table(["loss"], [{"loss": -1.5}, {"loss": float("nan")}, {"loss": None}]).to_csv()
    assert text.split("\r\n") == ["loss", "-1.5", '""', '""', ""]


def test_seeds_stay_whole_in_pandas_whatever_is_missing(made_run):
    pd = pytest.importorskip("pandas")
    run = made_run(guidance_scale=[3.0, 5.5], image_seed=[SEED, SEED + 1], left_out=1)
    run.rate(run.images[0], 4)
    run.measure("sharp", lambda image: float("nan") if image.rating is None else 2.5)
    frame = run.to_pandas(planned=True)
    assert frame["seed"].tolist() == [str(SEED), str(SEED + 1), str(SEED), str(SEED + 1)]
    assert frame["seed"].dtype == "string"
    assert frame["rating"].dtype == "Int64"
    assert frame["sharp"].dtype == "float64"
    assert pd.isna(frame["sharp"][1])
    assert frame["guidance_scale"].tolist() == [3.0, 3.0, 5.5, 5.5]
    assert frame["state"].tolist() == ["made", "made", "made", "missing"]
    assert frame["reason"].isna().all()


def test_columns_without_a_value_have_their_type_in_pandas(made_run):
    pytest.importorskip("pandas")
    frame = made_run(guidance_scale=[3, 5]).to_pandas()
    assert str(frame["rating"].dtype) == str(frame["width"].dtype) == "Int64"


def test_a_path_that_cannot_be_is_an_error_of_ours(made_run):
    run = made_run(guidance_scale=[3, 5])
    for path in ("~nobody-of-that-name/a.png", 5):
        with pytest.raises(ParameterError, match="path="):
            run.contact_sheet(path)
        with pytest.raises(ParameterError, match="path="):
            run.table().to_csv(path)
    with pytest.raises(ParameterError, match="notebook="):
        run.share(run.path / "a.zip", notebook="~nobody-of-that-name/a.ipynb")


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        Table(["a"], []).to_pandas()


def test_all_images_of_a_cell_are_rows_and_all_parameters_columns(made_run):
    run = made_run(guidance_scale=[3, 5], images_per_cell=3)
    table = run.table(every=True)
    assert len(table) == 6
    assert table.column("image_of_request") == [1, 2, 3, 1, 2, 3]
    assert table.column("seed") == ["7", "8", "9"] * 2
    assert table.column("prompt") == ["a lighthouse at dusk"] * 6
    assert "prompt" not in run.table().columns
    with pytest.raises(ParameterError, match="guidance_scale"):
        table.column("guidance_scal")


def test_a_long_table_is_shown_in_part_and_says_so():
    table = Table(["seed", "<b>"], [{"seed": n, "<b>": "<script>"} for n in range(100)])
    shown = table._repr_html_()
    assert "60 of 100 rows" in shown
    assert "<script>" not in shown
    assert "60 of 100 rows" in repr(table)


def test_what_cannot_be_read_or_written_is_an_error_of_ours(tmp_path):
    with pytest.raises(ParameterError, match="cannot be read"):
        Table.from_csv(tmp_path / "none.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Table(["a"], []).to_csv(tmp_path / "file" / "run.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
