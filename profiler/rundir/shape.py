"""Decoded JSON held against the types that it should have: a `run.json` may come from anywhere."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

# What every reader can hold: 64-bit columns, and floats of them.
_LARGEST = 1 << 63


def loads(text: str) -> object:
    """JSON whose numbers are numbers and whose text is text; raises ValueError or RecursionError on anything else."""
    # NaN and Infinity are no JSON, and no time or size either.
    raw: object = json.loads(text, parse_constant=lambda _: None)
    if "\\ud" not in text.lower():
        return raw
    # Half of a surrogate pair is no text: no file, table or terminal would take it.
    whole = json.dumps(raw, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(whole)


def build(kind: type[T], raw: object, where: str) -> T:
    """A dataclass from a JSON object, field by field; fields of a later version are left out.

    Raises:
        TypeError: a value of another type than its field's, named by its path.
    """
    given = _expect(isinstance(raw, dict), raw, where, "an object")
    hints = get_type_hints(kind)
    names = [each.name for each in dataclasses.fields(cast(Any, kind)) if each.name in given]
    known = {name: _value(hints[name], given[name], f"{where}.{name}") for name in names}
    try:
        return kind(**known)
    except TypeError as error:
        raise TypeError(f"{where}: {str(error).rpartition('__init__() ')[2]}") from None


def check_inside(shapes: Mapping[str, Any], raw: Mapping[str, Any], where: str) -> None:
    """Hold what a free mapping says under some keys against types; absent, null and other keys pass.

    Args:
        shapes: key to a type as annotations write it, or to a mapping of the same kind.
    """
    for key, wanted in shapes.items():
        value = raw.get(key)
        if value is None:
            continue
        path = f"{where}.{key}"
        if isinstance(wanted, Mapping):
            check_inside(wanted, _expect(isinstance(value, dict), value, path, "an object"), path)
        else:
            _value(wanted, value, path)


def _value(wanted: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, types.UnionType):
        rest = [each for each in arguments if each is not type(None)]
        return None if value is None and len(rest) < len(arguments) else _value(rest[0], value, where)
    if dataclasses.is_dataclass(wanted):
        return build(cast(type[Any], wanted), value, where)
    if origin is list:
        _expect(isinstance(value, list), value, where, "a list")
        return [_value(arguments[0], each, f"{where}[{index}]") for index, each in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, where, "an object")
        return {key: _value(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    return _plain(wanted, value, where)


def _plain(wanted: Any, value: Any, where: str) -> Any:
    if wanted is bool:
        return _expect(isinstance(value, bool), value, where, "true or false")
    if wanted is str:
        return _expect(isinstance(value, str), value, where, "text")
    kinds = int if wanted is int else int | float
    number = isinstance(value, kinds) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST
    return _expect(number, value, where, "a whole number" if wanted is int else "a number")


def _expect(holds: bool, value: Any, where: str, wanted: str) -> Any:
    if not holds:
        shown = repr(value)
        raise TypeError(f"{where} is {shown if len(shown) <= 40 else shown[:39] + '…'}, and should be {wanted}")
    return value
