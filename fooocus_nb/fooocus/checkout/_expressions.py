"""Evaluates the plain expressions of a checkout's source, of which nothing is run.

Lists that are put together, classes of constants (`Enum`), and functions that only return an
expression: what Fooocus's lists of choices and its validators of settings are made of. Whatever
else there is raises `Unknown`.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Function", "Unknown", "define", "evaluate"]

#: Steps of one evaluation, and the parts that a value may have: no honest source comes near.
MAX_STEPS = 200_000
MAX_SIZE = 10_000
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float,),
    "int": (int,),
    "list": (list,),
    "Number": (int, float),
    "Real": (int, float),
    "str": (str,),
    "tuple": (tuple,),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in _iterable(right),
    ast.NotIn: lambda left, right: left not in _iterable(right),
}


class Unknown(Exception):
    """An expression that is none of those that are evaluated here."""


@dataclass(frozen=True)
class _Member:
    """One constant of a class."""

    name: str
    value: Any


@dataclass(frozen=True)
class _Enumeration:
    """A class of constants."""

    members: tuple[_Member, ...]
    methods: Mapping[str, ast.expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """A lambda, with the names that it can see."""

    node: ast.Lambda
    names: Mapping[str, Any]

    def __call__(self, *values: Any) -> Any:
        """Evaluate it for some values; raises what Python would, or `Unknown`."""
        return _Evaluation(self.names).call(self, values)


def evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression.

    Raises
    ------
    Unknown
        When it is none that is evaluated here.
    """
    try:
        return _Evaluation(names).value(node)
    except Unknown:
        raise
    except Exception as error:  # whatever a broken source may raise
        raise Unknown(str(error)) from error


def define(tree: ast.Module, names: dict[str, Any]) -> None:
    """Add what a module assigns and which classes of constants it has, as far as is known."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    _define(target.id, node.value, names)
        elif isinstance(node, ast.ClassDef):
            names[node.name] = _enumeration(node, names)


def _define(name: str, node: ast.expr, names: dict[str, Any]) -> None:
    try:
        names[name] = evaluate(node, names)
    except Unknown:
        names.pop(name, None)  # what it was before does not hold any more


def _enumeration(node: ast.ClassDef, names: Mapping[str, Any]) -> _Enumeration:
    members, methods = [], {}
    for part in node.body:
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            try:
                members.append(_Member(part.targets[0].id, evaluate(part.value, names)))
            except Unknown:
                continue
        elif isinstance(part, ast.FunctionDef) and len(part.args.args) == 1:
            last = part.body[-1]
            if len(part.body) == 1 and isinstance(last, ast.Return) and last.value is not None:
                methods[part.name] = last.value
    return _Enumeration(tuple(members), methods)


def _iterable(value: Any) -> Any:
    """Return what Python would go through, or look into."""
    return value.members if isinstance(value, _Enumeration) else value


class _Evaluation:
    """One evaluation, of a limited number of steps."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._steps = 0

    def value(self, node: ast.expr) -> Any:
        self._steps += 1
        method = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if method is None or self._steps > MAX_STEPS:
            raise Unknown(type(node).__name__)
        return method(node)

    def call(self, function: Function, values: Iterable[Any]) -> Any:
        """Evaluate a lambda."""
        given = [argument.arg for argument in function.node.args.args]
        before, self._names = (
            self._names,
            {**function.names, **dict(zip(given, values, strict=True))},
        )
        try:
            return self.value(function.node.body)
        finally:
            self._names = before

    # -- names and values -------------------------------------------------------------------

    def _of_constant(self, node: ast.Constant) -> Any:
        return node.value

    def _of_name(self, node: ast.Name) -> Any:
        if node.id in self._names:
            return self._names[node.id]
        raise Unknown(node.id)

    def _of_attribute(self, node: ast.Attribute) -> Any:
        try:
            owner = self.value(node.value)
        except Unknown:
            # A module's name, as in `modules.flags.sampler_list`.
            if node.attr in self._names and _is_dotted(node.value):
                return self._names[node.attr]
            raise
        if isinstance(owner, _Member) and node.attr in ("name", "value"):
            return getattr(owner, node.attr)
        if isinstance(owner, _Enumeration):
            for member in owner.members:
                if member.name == node.attr:
                    return member
        raise Unknown(node.attr)

    def _of_list(self, node: ast.List) -> Any:
        return self._items(node.elts)

    def _of_tuple(self, node: ast.Tuple) -> Any:
        return tuple(self._items(node.elts))

    def _of_set(self, node: ast.Set) -> Any:
        return set(self._items(node.elts))

    def _items(self, nodes: Iterable[ast.expr]) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self._taken(self.value(node.value))
            else:
                found.append(self.value(node))
        return found

    def _of_dict(self, node: ast.Dict) -> Any:
        if None in node.keys:
            raise Unknown("**")
        keys = [self.value(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(self.value, node.values), strict=True))

    def _of_lambda(self, node: ast.Lambda) -> Any:
        return Function(node, self._names)

    # -- operators --------------------------------------------------------------------------

    def _of_compare(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        for sign, following in zip(node.ops, node.comparators, strict=True):
            right = self.value(following)
            if not _COMPARISONS[type(sign)](left, right):
                return False
            left = right
        return True

    def _of_boolop(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.Or)
        found: Any = None
        for part in node.values:
            found = self.value(part)
            if bool(found) is wanted:
                return found
        return found

    def _of_unaryop(self, node: ast.UnaryOp) -> Any:
        found = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not found
        if isinstance(node.op, ast.USub):
            return -found
        raise Unknown("operator")

    def _of_binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Add):
            if isinstance(left, list | tuple | str) and len(left) + len(right) > MAX_SIZE:
                raise Unknown("size")
            return left + right
        if isinstance(node.op, ast.Sub) and isinstance(left, int | float):
            return left - right
        raise Unknown("operator")

    def _of_ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _of_subscript(self, node: ast.Subscript) -> Any:
        return self.value(node.value)[self.value(node.slice)]

    # -- comprehensions and calls -----------------------------------------------------------

    def _of_listcomp(self, node: ast.ListComp) -> Any:
        return self._comprehended(node.elt, node.generators)

    def _of_generatorexp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehended(node.elt, node.generators)

    def _comprehended(self, part: ast.expr, generators: list[ast.comprehension]) -> list[Any]:
        before = self._names
        try:
            return list(self._each(part, generators))
        finally:
            self._names = before

    def _each(self, part: ast.expr, generators: list[ast.comprehension]) -> Iterator[Any]:
        if not generators:
            yield self.value(part)
            return
        first, *others = generators
        for item in self._taken(self.value(first.iter)):
            self._names = {**self._names, **_bound(first.target, item)}
            if all(self.value(test) for test in first.ifs):
                yield from self._each(part, others)

    def _of_call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise Unknown("keywords")
        if isinstance(node.func, ast.Attribute):
            return self._method(node.func, node.args)
        if not isinstance(node.func, ast.Name):
            raise Unknown("call")
        if node.func.id in ("all", "any") and isinstance(node.args[0], ast.GeneratorExp):
            return self._decided(node.func.id, node.args[0])
        if node.func.id == "isinstance" and len(node.args) == 2:
            kinds = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
            return isinstance(self.value(node.args[0]), tuple(t for k in kinds for t in _type(k)))
        values = self._items(node.args)
        match node.func.id, values:
            case "len", [one]:
                return len(one)
            case "all", [one]:
                return all(self._taken(one))
            case "any", [one]:
                return any(self._taken(one))
            case "list", [one]:
                return self._taken(one)
            case "tuple", [one]:
                return tuple(self._taken(one))
            case "set", [one]:
                return set(self._taken(one))
            case "sorted", [one]:
                return sorted(self._taken(one))
            case "map", [Function() as function, several]:
                return [self.call(function, (item,)) for item in self._taken(several)]
        raise Unknown(node.func.id)

    def _decided(self, name: str, node: ast.GeneratorExp) -> bool:
        """Go through parts until one decides, as Python does."""
        before = self._names
        try:
            parts = self._each(node.elt, node.generators)
            return all(parts) if name == "all" else any(parts)
        finally:
            self._names = before

    def _method(self, func: ast.Attribute, arguments: list[ast.expr]) -> Any:
        owner = self.value(func.value)
        if isinstance(owner, _Enumeration) and func.attr in owner.methods and not arguments:
            body = owner.methods[func.attr]
            before, self._names = self._names, {**self._names, "cls": owner}
            try:
                return self.value(body)
            finally:
                self._names = before
        if isinstance(owner, dict) and func.attr in ("keys", "values", "items") and not arguments:
            return list(getattr(owner, func.attr)())
        raise Unknown(func.attr)

    def _taken(self, value: Any) -> list[Any]:
        """Return the items of what Python would go through; raises what it would."""
        items = list(_iterable(value))
        self._steps += len(items)
        if len(items) > MAX_SIZE:
            raise Unknown("size")
        return items


def _is_dotted(node: ast.expr) -> bool:
    """Whether it is a name, or names with dots."""
    return isinstance(node, ast.Name) or (
        isinstance(node, ast.Attribute) and _is_dotted(node.value)
    )


def _type(node: ast.expr) -> tuple[type, ...]:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if name not in _TYPES:
        raise Unknown(name)
    return _TYPES[name]


def _bound(target: ast.expr, item: Any) -> dict[str, Any]:
    """Return the names that a loop gives to an item."""
    if isinstance(target, ast.Name):
        return {target.id: item}
    if isinstance(target, ast.Tuple):
        pairs = zip(target.elts, item, strict=True)
        return {name: part for one, its in pairs for name, part in _bound(one, its).items()}
    raise Unknown("target")
