"""What the source of a version says that a setting may be, beside its type."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Limits", "limits_of", "literals_of"]


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


def literals_of(tree: ast.Module) -> dict[str, tuple[object, ...]]:
    """Return the lists of a module that are written out, by their names."""
    found: dict[str, tuple[object, ...]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, values = node.targets[0], _values(node.value)
            if isinstance(target, ast.Name) and values:
                found[target.id] = values
    return found


def limits_of(validator: ast.expr | None, literals: Mapping[str, tuple[object, ...]]) -> Limits:
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
                choices = _values(right) or literals.get(_last_name(right), ())
            elif isinstance(sign, ast.Lt | ast.LtE):
                low = _number(left) if _is_name(right, name) else low
                high = _number(right) if _is_name(left, name) else high
            elif isinstance(sign, ast.Gt | ast.GtE):
                low = _number(right) if _is_name(left, name) else low
                high = _number(left) if _is_name(right, name) else high
    return Limits(low, high, choices)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _last_name(node: ast.expr) -> str:
    """Return ``sampler_list`` of ``modules.flags.sampler_list``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _number(node: ast.expr) -> float | None:
    value = _literal(node)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _values(node: ast.expr) -> tuple[object, ...]:
    value = _literal(node)
    return tuple(value) if isinstance(value, list | tuple | set) else ()


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
