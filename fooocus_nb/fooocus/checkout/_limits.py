"""What the source of a version says that a setting may be, beside its type."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fooocus_nb.fooocus.checkout._expressions import Unknown, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Limits", "limits_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The values that a setting may have, as far as the source tells."""

    low: float | None = None
    high: float | None = None
    choices: tuple[object, ...] = ()

    def complaint(self, value: object) -> str:
        """Say what a value should be instead; nothing where it is fine."""
        if self.choices and value not in self.choices:
            shown = ", ".join(map(repr, self.choices[:12]))
            return f"one of {shown}{', ...' if len(self.choices) > 12 else ''}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            return ""
        too_low = self.low is not None and value < self.low
        too_high = self.high is not None and value > self.high
        if not (too_low or too_high):
            return ""
        if self.low is None or self.high is None:
            return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"
        return f"from {self.low:g} to {self.high:g}"


def limits_of(validator: ast.expr | None, names: Mapping[str, object]) -> Limits:
    """Return what a validator such as ``lambda x: 1 <= x <= 32`` accepts."""
    if not isinstance(validator, ast.Lambda) or len(validator.args.args) != 1:
        return Limits()
    name, body = validator.args.args[0].arg, validator.body
    every = isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And)
    conditions = body.values if every and isinstance(body, ast.BoolOp) else [body]
    low: float | None = None
    high: float | None = None
    choices: tuple[object, ...] = ()
    for condition in conditions:
        if not isinstance(condition, ast.Compare):
            continue
        operands = [condition.left, *condition.comparators]
        for left, sign, right in zip(operands, condition.ops, operands[1:], strict=False):
            if isinstance(sign, ast.In) and _is_name(left, name):
                choices = _values(right, names)
            elif isinstance(sign, ast.Lt | ast.LtE):
                low = _number(left, names) if _is_name(right, name) else low
                high = _number(right, names) if _is_name(left, name) else high
            elif isinstance(sign, ast.Gt | ast.GtE):
                low = _number(right, names) if _is_name(left, name) else low
                high = _number(left, names) if _is_name(right, name) else high
    return Limits(low, high, choices)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _number(node: ast.expr, names: Mapping[str, object]) -> float | None:
    value = _evaluated(node, names)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _values(node: ast.expr, names: Mapping[str, object]) -> tuple[object, ...]:
    value = _evaluated(node, names)
    return tuple(value) if isinstance(value, list | tuple | set) else ()


def _evaluated(node: ast.expr, names: Mapping[str, object]) -> object:
    try:
        return evaluate(node, names)
    except Unknown:
        return None
