"""The rows of log pages from before 2.1.854, which have no button with JSON."""

from __future__ import annotations

import re

from fooocus_nb.fooocus.metadata._lora_records import lora_of_weight

__all__ = ["rows_of"]

#: Up to 2.1.851: ``<p>Name: <b>value</b>, Name: <b>value</b></p>``.
_LABEL = re.compile(r"(?:<p>|, )(?P<label>[^<>\n]{1,300}?): <b>")
_END = re.compile(r"</b>(?=, |\s{0,9}</p>)")
#: 2.1.852: a table.
_CELL = re.compile(
    r"<td class=['\"](?:key|label)['\"]>(?P<label>[^<>\n]{1,300})</td>"
    r"<td class=['\"]value['\"]>"
)
_CELL_END = re.compile(r"</td></tr>")
#: How a new line in a value was written for a while.
_BREAK = re.compile(r" ?</?br ?/?> ?")


def rows_of(block: str) -> tuple[dict[str, str], int]:
    """Return label and value of each row of an image's division, and where the last one ends.

    Values aren't escaped there.
    """
    found: dict[str, str] = {}
    for start, end in ((_CELL, _CELL_END), (_LABEL, _END)):
        at = 0
        while label := start.search(block, at):
            close = end.search(block, label.end())
            if close is None:
                break
            value = _BREAK.sub("\n", block[label.end() : close.start()])
            name = label["label"]
            lora = lora_of_weight(name)
            if lora is not None or name == "LoRA":  # the rows of 2.1.852 all have this name
                # Numbered, as one may be there twice.
                name = f"LoRA {sum(key.startswith('LoRA') for key in found) + 1}"
                value = value if lora is None else f"{lora} : {value}"
            found.setdefault(name, value)
            at = close.end()
        if found:
            return found, at
    return found, 0
