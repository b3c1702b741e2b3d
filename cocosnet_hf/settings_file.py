"""Nested settings, as YAML and JSON hold them, into frozen dataclasses and back.

The one codec of recipes, commands and conditions: what it writes it reads, and it reads each value
in the forms that the two kinds of file have for it.
"""

import copy
import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import yaml

MOST = 1 << 1000
"""Whole numbers from here on are no floats."""

MOST_VALUES = 100_000
"""Of a file of settings; anchors can make more of a few lines than any memory holds."""

RENAMED = {
    "crop": "system_options.crop",
    "data.color": "data.color_jitter",
    "data.warp": "data.elastic",
    "networks.freeze_correspondence": "system_options.freeze_correspondence",
    "optimizer.discriminator_epsilon": "optimizer.discriminator_eps",
    "optimizer.discriminator_rate": "optimizer.discriminator_lr",
    "optimizer.generator_epsilon": "optimizer.generator_eps",
    "optimizer.generator_rate": "optimizer.generator_lr",
    "schedule.mask_warmup": "system_options.mask_warmup",
}
"""Settings by the names that they had in recipes and checkpoints of earlier versions."""


def parsed(text: str | bytes, name: str) -> Any:
    """YAML that stands in `name`, as text or as the bytes of a file, in UTF-8 or marked UTF-16.

    Raises ValueError, naming it, for what is no YAML or no text, for more than `MOST_VALUES`, and
    for values that no setting has, such as dates.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.reader.ReaderError as error:
        raise ValueError(
            f"{name} is not valid YAML: {error}. Save it as plain text in UTF-8."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{name} is not valid YAML: {error}") from error
    except RecursionError as error:
        raise ValueError(
            f"{name} is not valid YAML: its lists and groups lie too deep in one another; close "
            "each bracket, and indent a line no further than its group."
        ) from error
    _require_settings(value, name)
    return value


def _require_settings(value: Any, name: str) -> None:
    """Raise ValueError for a value that JSON has not, and for groups without an end."""
    left, seen = [value], 0
    while left:
        value, seen = left.pop(), seen + 1
        if seen > MOST_VALUES:
            raise ValueError(
                f"{name} holds more than {MOST_VALUES:,} values, as where a group in it holds "
                "itself; write out what its anchors (&) repeat."
            )
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif value is not None and not isinstance(value, (bool, int, float, str)):
            raise ValueError(
                f"{name} holds {str(value)[:40]!r}, which YAML reads as {type(value).__name__}; "
                f"settings are numbers, texts, lists and groups: put a text in quotes."
            )


def on_top(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Both groups of settings in one; where both set a value, the upper one's."""
    merged = dict(lower)
    for name, value in upper.items():
        both = isinstance(value, dict) and isinstance(lower.get(name), dict)
        merged[name] = on_top(value, lower[name]) if both else value
    return merged


def renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an earlier version by the names of today, see `RENAMED`.

    What became an option of one system is left out where it was off: others do not know it.
    """
    now = copy.deepcopy(dict(config))
    for before, after in RENAMED.items():
        (old_group, old), (group, new) = _split(before), _split(after)
        if old in (values := now.get(old_group, {}) if old_group else now):
            value = values[old]
            if group == old_group:
                now[group] = {new if key == old else key: found for key, found in values.items()}
                continue
            del values[old]
            if value:
                now.setdefault(group, {})[new] = value
    return now


def _split(name: str) -> tuple[str, str]:
    """Group and name of a setting; the group is "" at the top."""
    group, _, last = name.rpartition(".")
    return group, last


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain values, as `build` reads them."""
    return {item.name: _plain(getattr(config, item.name)) for item in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    """A setting as it comes back from JSON: lists for tuples, at any depth."""
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value  # JSON has no NumPy numbers


def without_lists(value: Any) -> Any:
    """Plain values with {"0": first, "1": second, ...} for each list, which `build` reads as well.

    diffusers takes a list in a pipeline's configuration for a component.
    """
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {str(key): without_lists(item) for key, item in value.items()}
    return value


def build(cls: type, values: Any, prefix: str, groups: Mapping[str, type] | None = None) -> Any:
    """The dataclass that nested settings describe. groups: classes in place of its fields' own.

    Raises ValueError for settings that are unknown, missing or of another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix.rstrip('.')} must be a group of settings, got {values!r}.")
    hints = typing.get_type_hints(cls) | dict(groups or {})
    items = {item.name: item for item in dataclasses.fields(cls)}
    inner = {
        name: [item.name for item in dataclasses.fields(hint)]
        for name, hint in hints.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
    }
    _refuse_unknown(values, items, prefix, inner)
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for name, item in items.items():
        if (item.default, item.default_factory) == required and name not in values:
            raise ValueError(f"the setting {prefix}{name} is missing; it has no default.")
    return cls(
        **{
            name: _typed(value, hints[name], prefix + name, items[name].metadata)
            for name, value in values.items()
        }
    )


def _refuse_unknown(
    names: Mapping[str, Any],
    known: Mapping[str, Any],
    prefix: str,
    groups: Mapping[str, Collection[str]] = types.MappingProxyType({}),
) -> None:
    """groups: the settings of each group among the known, for one that was left without it."""
    for name in names:
        if name not in known and f"{prefix}{name}" in RENAMED:
            raise ValueError(f"{prefix}{name} is now called {RENAMED[f'{prefix}{name}']}.")
        if name not in known:
            inner = [f"{prefix}{group}.{name}" for group, held in groups.items() if name in held]
            nearest = [f"{prefix}{one}" for one in difflib.get_close_matches(str(name), known, n=1)]
            hint = f"; did you mean {one}?" if (one := next(iter(inner or nearest), None)) else "."
            raise ValueError(f"unknown setting {prefix}{name}{hint} Known are {', '.join(known)}.")


def _typed(value: Any, hint: Any, name: str, metadata: Mapping[str, Any]) -> Any:
    """`value` as the type `hint`; whole numbers pass for floats, lists for tuples."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, name + ".")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        kinds = [kind for kind in arguments if kind is not type(None)]
        exact = [kind for kind in kinds if type(value) is (typing.get_origin(kind) or kind)]
        return _typed(value, (exact or kinds)[0], name, metadata)
    if origin is Literal:
        if value is False and "no" in arguments:  # YAML reads a bare no as a boolean
            value = "no"
        if value not in arguments:
            raise ValueError(f"{name} must be one of {', '.join(arguments)}, got {value!r}.")
        return value
    if origin is tuple:
        return _typed_tuple(value, arguments, name)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a group of settings, got {value!r}.")
        if arguments[0] is int:
            return _numbered(value, arguments[1], name)
        if classes := metadata.get("options_of"):
            _refuse_unknown_options(value, classes, name)
        return _string_keys(value)
    return _typed_scalar(value, hint, name)


def _typed_tuple(value: Any, kinds: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """A list, or a group with the keys 0, 1, ... as `without_lists` makes them."""
    if isinstance(value, Mapping) and {str(key) for key in value} == set(
        map(str, range(len(value)))
    ):
        named = _string_keys(value)
        value = [named[str(index)] for index in range(len(named))]
    count = None if Ellipsis in kinds else len(kinds)
    if not isinstance(value, list) or count not in (None, len(value)):
        wanted = "values" if count is None else f"{count} values"
        raise ValueError(
            f"{name} must be a list of {wanted}, or a group with the keys 0, 1, ... without gaps; "
            f"got {value!r}."
        )
    return tuple(_typed(item, kinds[0], f"{name}.{at}", {}) for at, item in enumerate(value))


def _numbered(value: Mapping[Any, Any], kind: Any, name: str) -> dict[int, Any]:
    """A group by whole numbers, which JSON writes as texts."""
    try:
        numbers = {key: int(str(key)) for key in value}
    except ValueError as error:
        raise ValueError(f"{name} must have whole numbers for keys, got {list(value)}.") from error
    return {numbers[key]: _typed(item, kind, f"{name}.{key}", {}) for key, item in value.items()}


def _refuse_unknown_options(value: Mapping[str, Any], classes: Sequence[type], name: str) -> None:
    """Raise ValueError for what is no constructor argument of the class that is chosen."""
    names = [cls.__name__ for cls in classes]
    chosen = value.get("class", names[0])
    if chosen not in names:
        raise ValueError(f"{name}.class must be one of {', '.join(names)}, got {chosen!r}.")
    known = dict.fromkeys(inspect.signature(classes[names.index(chosen)]).parameters)
    known.pop("condition_channels", None)
    known["class"] = None
    _refuse_unknown(value, known, name + ".")


def _typed_scalar(value: Any, hint: type, name: str) -> Any:
    """A number, truth value or text in one of the forms that files have for it."""
    if hint is float and (isinstance(value, str) or (type(value) is int and abs(value) < MOST)):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
    if hint is int and type(value) is float and value.is_integer():
        return int(value)
    if hint is bool and type(value) in (int, float) and value in (0, 1):
        return bool(value)
    if type(value) is not hint:
        raise ValueError(f"{name} must be {hint.__name__}, got {value!r}.")
    return value


def _string_keys(value: Any) -> Any:
    """Numbers for keys, as YAML reads them, become strings, as JSON and conditions write them."""
    if isinstance(value, Mapping):
        return {str(key): _string_keys(item) for key, item in value.items()}
    return value
