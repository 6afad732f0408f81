"""A run as a table: one row for each image, to read, to export, and to hand to pandas."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from fooocus_nb import _html
from fooocus_nb.errors import ConfigurationError, OutputError, ParameterError, nearest
from fooocus_nb.experiment.folder import given_path
from fooocus_nb.experiment.identity import short_name
from fooocus_nb.experiment.labels import axis_text
from fooocus_nb.fooocus.limits import max_file_bytes
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.schema.parameters import canonical_name
from fooocus_nb.fooocus.whole_files import writing_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

__all__ = ["Table", "guarded", "unguarded"]

MAX_SHOWN = 60
_SEED = "seed"
#: Columns of whole numbers, also where none has a value yet.
_WHOLE = frozenset({"rating", "width", "height", "image_of_request"})
#: What a spreadsheet takes for a formula, in its full width, too; a line break can begin one.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")


class Table(Sequence[Mapping[str, Any]]):
    """Rows with named columns. Seeds are text: they exceed what a spreadsheet's number holds.

    Parameters
    ----------
    columns : sequence of str
        The names, in order.
    rows : iterable of mapping
        Values by column: text, numbers, True and False; None, or nothing, where there is none.
    title : str, optional
        The heading.

    Attributes
    ----------
    columns : tuple of str
        The names, in order.
    title : str
        The heading.
    """

    def __init__(
        self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, title: str = ""
    ) -> None:
        self.columns = tuple(columns)
        self.title = title
        self._rows = tuple(
            {name: _plain(name, row.get(name)) for name in self.columns} for row in rows
        )

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return (self.columns, self._rows) == (other.columns, other._rows)

    __hash__ = None  # type: ignore[assignment]  # rows have none either

    def column(self, name: str) -> list[Any]:
        """Return the values of one column, in the order of the rows.

        Parameters
        ----------
        name : str
            A column, or the other name of a parameter.

        Raises
        ------
        ParameterError
            When there is no such column.
        """
        for known in (name, short_name(canonical_name(name)), canonical_name(name)):
            if known in self.columns:
                return [row[known] for row in self._rows]
        msg = f"There is no column {name!r}.{nearest(name, self.columns)} Columns: "
        raise ParameterError(msg + ", ".join(self.columns) + ".")

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the table as CSV, or return it.

        A text that a spreadsheet would run as a formula, such as a prompt that begins with ``-``
        or ``=``, gets an apostrophe in front; :meth:`from_csv` removes it again.

        Parameters
        ----------
        path : path-like, optional
            Where to, in UTF-8; a file that is there is replaced. Default: nowhere.

        Returns
        -------
        str
            The CSV.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow([guarded(name) for name in self.columns])
        for row in self._rows:
            writer.writerow([_csv_text(row[name]) for name in self.columns])
        if path is not None:
            _write(given_path(path, "path"), buffer.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> Table:
        """Read a table that :meth:`to_csv` wrote.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Table
            All values are text, as they were before the guard; None where there was none.

        Raises
        ------
        ParameterError
            When there is no such file, or it is no CSV in UTF-8.
        """
        file = given_path(path, "path")
        try:
            text = read_plain_file(file, max_file_bytes()).decode("utf-8-sig")
            rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            msg = f"path={str(path)!r}: it cannot be read as CSV in UTF-8 ({error})."
            raise ParameterError(msg) from None
        columns = [unguarded(name) for name in (rows[0] if rows else [])]
        return cls(
            columns,
            [
                {name: unguarded(value) or None for name, value in zip(columns, row, strict=False)}
                for row in rows[1:]
            ],
            title=file.name,
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a DataFrame.

        Returns
        -------
        pandas.DataFrame
            Texts and seeds are ``string``, whole numbers ``Int64``, others ``float64``, True and
            False ``boolean``: a missing value changes none of these.

        Raises
        ------
        ConfigurationError
            When pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            msg = (
                "to_pandas() needs pandas, which is not installed here: "
                "%pip install pandas. run.table() and its to_csv() work without it."
            )
            raise ConfigurationError(msg) from None
        return pd.DataFrame(
            {
                name: pd.Series([row[name] for row in self._rows], dtype=_dtype(name, self._rows))
                for name in self.columns
            }
        )

    def __repr__(self) -> str:
        heads = list(self.columns)
        rows = [[_shown(row[name]) for name in heads] for row in self._rows[:MAX_SHOWN]]
        widths = [
            min(max(len(line[index]) for line in [heads, *rows]), 40) for index in range(len(heads))
        ]
        lines = [
            "  ".join(_html.clip(text, 40).ljust(width) for text, width in zip(line, widths))  # noqa: B905
            for line in [heads, *rows]
        ]
        return "\n".join(line.rstrip() for line in [*lines, *filter(None, [self._more()])])

    def _more(self) -> str:
        if len(self) <= MAX_SHOWN:
            return ""
        return f"{MAX_SHOWN} of {len(self):,} rows are shown; .to_csv(path) writes all of them."

    def _repr_html_(self) -> str:
        rows = [[_shown(row[name]) for name in self.columns] for row in self._rows[:MAX_SHOWN]]
        count = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        title = f"{self.title}: {count}" if self.title else count
        body = _html.data_table(self.columns, rows, title=title, height="440px")
        foot = f'<div class="fnb-dim" style="font-size:12px">{_html.escape(self._more())}</div>'
        return _html.wrap(body, foot if self._more() else "", label=title)


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return a text as it was before :func:`guarded`."""
    return text[1:] if _GUARDED.match(text) else text


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return guarded(value)
    return str(value)  # a negative number is none of the formulas


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else axis_text(value)


def _plain(name: str, value: Any) -> Any:
    """Return a value as a table holds it: seeds as text, lists as text, nothing for NaN."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if name == _SEED and isinstance(value, int):
        return str(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return axis_text(value)


def _dtype(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if name == _SEED or (kinds <= {str} and name not in _WHOLE):
        return "string"
    if name in _WHOLE and kinds <= {int}:
        return "Int64"
    if kinds == {bool}:
        return "boolean"
    if kinds == {int} and all(abs(row[name] or 0) < 2**63 for row in rows):
        return "Int64"
    return "float64" if kinds <= {int, float} else "object"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_whole(path) as part:
            part.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        msg = f"The table cannot be written to {path}: {error.strerror or error}."
        raise OutputError(msg) from error
