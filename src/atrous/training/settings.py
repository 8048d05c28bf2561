"""Settings as TOML, JSON and the command line give them, and whether they are of the right type."""

import typing
from typing import Any, Literal

from .._settings_files import parse_toml
from ..errors import InputError


def parsed_setting(text: str) -> tuple[str, Any]:
    """Read `key=value`, the value as in TOML; words need no quotes.

    Examples
    --------
    >>> parsed_setting("crop=193"), parsed_setting("frozen=none"), parsed_setting("scales=[0.5, 1.5]")
    (('crop', 193), ('frozen', 'none'), ('scales', [0.5, 1.5]))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text:.60}: expected key=value")
    try:
        return key.strip(), parse_toml(f"value = {value.strip()}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def native(value: Any, kind: Any) -> Any:
    """Undo what JSON and TOML cannot say: a tuple, a float without a point, "none".

    Parameters
    ----------
    value
        As read.
    kind
        The setting's type, as annotated.
    """
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
    if value == "none" and type(None) in options:
        return None
    if isinstance(value, list) and any(typing.get_origin(option) is tuple for option in options):
        return tuple(float(v) if _is_number(v) else v for v in value)
    if _is_number(value) and float in options:
        return float(value)
    if isinstance(value, dict) and all(_is_number(v) for v in value.values()):
        return {str(k): float(v) for k, v in value.items()}
    return value


def check_type(name: str, value: Any, kind: Any) -> None:
    """Raise InputError if a setting is not of its annotated type; numbers in tuples and dictionaries are 0 or more."""
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
    if any(_fits(value, option) for option in options):
        return
    raise InputError(f"{name}={value!r:.60}: expected {' or '.join(_said(option) for option in options)}")


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        length = None if arguments[-1] is Ellipsis else len(arguments)
        return isinstance(value, tuple) and length in (None, len(value)) and all(_positive(v) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(k, str) and _positive(v) for k, v in value.items())
    if kind is float:
        return _is_number(value) and value == value
    if kind is int:
        return isinstance(value, int) and _is_number(value)
    return isinstance(value, kind)


def _said(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return "a list of numbers" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} numbers"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", type(None): "none"}
    return names.get(kind, "names with numbers")


def _is_union(kind: Any) -> bool:
    return type(kind).__name__ in ("UnionType", "Union", "_UnionGenericAlias")


def _is_number(value: Any) -> bool:
    if isinstance(value, int):  # of any size in JSON and TOML
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def _positive(value: Any) -> bool:
    return _is_number(value) and 0 <= value < float("inf")
