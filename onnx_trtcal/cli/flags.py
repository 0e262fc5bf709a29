"""Flags made from the option dataclasses: one name and one default for API, command line and TOML.

A field `trt_version` is the flag `--trt-version` and the TOML key `trt_version`; what a flag says
overrides the file, and the file overrides the defaults.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_trtcal.cli.method_rows import methods_help
from onnx_trtcal.errors import CHECK_PATH, OptionError, did_you_mean
from onnx_trtcal.options import Options, Preprocess, parse_size, parse_time, percent
from onnx_trtcal.qdq.options import QdqOptions

__all__ = [
    "SOLVING",
    "add_data",
    "add_options",
    "add_preprocess",
    "add_qdq",
    "checked",
    "data_from",
    "options_from",
    "qdq_from",
    "without_effect",
]

SOLVING = (
    "method",
    "method_for",
    "trt_version",
    "tie_concat",
    "parser_names",
    "zero_scales",
    "allow_nonfinite",
    "allow_quantized",
    "ort_custom_ops",
    "threads",
)
"""The fields of Options that say how statistics are solved."""

_UNSET = argparse.SUPPRESS


def add_data(parser: argparse.ArgumentParser, help_text: str, metavar: str = "DATA") -> None:
    """Adds the argument for data: one path or several."""
    parser.add_argument("data", metavar=metavar, nargs="+", help=help_text)


def data_from(args: argparse.Namespace) -> str | list[str]:
    """What the argument of `add_data` says: the path, or the list of paths."""
    paths: list[str] = args.data
    return paths[0] if len(paths) == 1 else paths


def add_options(parser: argparse.ArgumentParser, *names: str, without: Sequence[str] = ()) -> None:
    """Adds a flag for each named field of Options, and --config.

    Args:
        parser: of the verb.
        names: of the fields; none for all of them.
        without: fields that have no effect in the verb.
    """
    known = {
        item.name: item for item in dataclasses.fields(Options) if item.name not in ("preprocess", *without)
    }
    group = parser.add_argument_group("options")
    for name in names or known:
        _add_flag(group, known[name])
        if name == "method":
            parser.add_argument_group("methods", description=methods_help())
    group.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file with options under the names of their flags; [preprocess] and [qdq] are tables, "
        "[preprocess.INPUT] one for a single input",
    )


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each field of Preprocess."""
    group = parser.add_argument_group(
        "image preprocessing: colour, resize, crop, (pixel * scale - mean) / std",
        description="Each of these flags may be repeated as --FLAG INPUT=VALUE, for one input of the model.",
    )
    for item in _image_fields():
        _add_flag(group, item, per_input=True)


def add_qdq(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """Adds a flag for each field of QdqOptions, but for fields that have no effect in the verb."""
    group = parser.add_argument_group("Q/DQ model")
    for item in dataclasses.fields(QdqOptions):
        if item.name not in without:
            _add_flag(group, item)


def qdq_from(args: argparse.Namespace) -> QdqOptions:
    """QdqOptions from the flags given, over the table [qdq] of a --config file, over the defaults.

    Raises:
        OptionError: on a value that means nothing, or a key in the file that is not an option.
    """
    said = vars(args)
    values: dict[str, Any] = dict(_from_toml(said["config"])["qdq"]) if said.get("config") else {}
    for item in dataclasses.fields(QdqOptions):
        if item.name in said:
            values[item.name] = said[item.name]
    values["exclude"] = tuple(values.get("exclude", ()))
    return QdqOptions(**values)


def options_from(args: argparse.Namespace) -> Options:
    """Options from the flags given, over a --config file, over the defaults.

    Raises:
        OptionError: on a value that means nothing, or a key in the file that is not an option.
    """
    said = vars(args)
    values = _from_toml(said["config"]) if said.get("config") else {}
    values.pop("qdq", None)
    images = dict(values.pop("preprocess", {}))
    for item in dataclasses.fields(Options):
        if item.name in said:
            values[item.name] = said[item.name]
    per_input = {name: dict(fields) for name, fields in images.pop("per_input", {}).items()}
    for item in _image_fields():
        for name, value in said.get(item.name, {}).items():
            (per_input.setdefault(name, {}) if name else images)[item.name] = value
    if per_input:
        images["per_input"] = {name: Preprocess(**fields) for name, fields in per_input.items()}
    for name in ("method_for", "ort_custom_ops", "item_axis", "until"):
        if name in values:
            values[name] = tuple(values[name])
    return Options(preprocess=Preprocess(**images), **values)


# What plays a part, or does no harm, where scales are not those of data: a cache is taken as it is.
_WITH_A_CACHE = frozenset({"allow_quantized", "ort_custom_ops", "batch_size", "threads", "provider"})
_WITH_STATISTICS = _WITH_A_CACHE | frozenset(
    {"method", "method_for", "trt_version", "tie_concat", "zero_scales", "allow_nonfinite"}
)
_WITHOUT_DATA = {"statistics": _WITH_STATISTICS, "cache": _WITH_A_CACHE}


def without_effect(args: argparse.Namespace, kind: str) -> list[str]:
    """The flags given that concern data, where scales come from `statistics` or from a `cache` instead."""
    if kind not in _WITHOUT_DATA:
        return []
    said = vars(args)
    names = [item.name for item in dataclasses.fields(Options) if item.name not in _WITHOUT_DATA[kind]]
    names += [item.name for item in _image_fields()]
    return [f"--{name.replace('_', '-')}" for name in names if name in said]


class _PerInput(argparse.Action):
    """Gathers VALUE and INPUT=VALUE as {input name: value}; what is for all inputs stands under ""."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (argparse's signature)
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Adds one value."""
        name, value = values
        setattr(namespace, self.dest, {**getattr(namespace, self.dest, {}), name: value})


def _for_input(convert: Callable[[str], Any]) -> Callable[[str], tuple[str, Any]]:
    def split(text: str) -> tuple[str, Any]:
        name, sign, value = text.rpartition("=")
        if sign and not name:
            raise argparse.ArgumentTypeError(f"{text!r} names no input before the =")
        return name, convert(value)

    return split


def _choice(choices: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(map(repr, choices))})"
            )
        return text

    return check


def _image_fields() -> list[dataclasses.Field[Any]]:
    return [item for item in dataclasses.fields(Preprocess) if item.name != "per_input"]


def _add_flag(group: Any, item: dataclasses.Field[Any], *, per_input: bool = False) -> None:
    flag = "--" + item.name.replace("_", "-")
    text = item.metadata["help"].replace("%", "%%")
    if item.type == "bool" and item.default:
        text += " (default on)"
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=_UNSET, help=text)
        return
    if item.type == "bool":
        group.add_argument(flag, action="store_true", default=_UNSET, help=text)
        return
    if item.default not in (None, (), ""):
        text += f" (default {item.default})"
    arguments: dict[str, Any] = {"default": _UNSET, "help": text}
    choices = item.metadata["choices"]
    if per_input:
        arguments["action"] = _PerInput
        arguments["type"] = _for_input(_choice(choices) if choices else _argument_type(item))
        arguments["metavar"] = "|".join(choices) or item.metadata["metavar"]
    elif choices:
        arguments["choices"] = choices
    else:
        arguments["type"] = _argument_type(item)
        arguments["metavar"] = item.metadata["metavar"] or item.name.upper()
    if item.type == "tuple[str, ...]":
        arguments["action"] = "append"
    group.add_argument(flag, **arguments)


def checked(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """A conversion whose errors argparse prints with the flag that they are about."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, OptionError) as error:
            raise argparse.ArgumentTypeError(str(error).replace("\n", "; ")) from error

    return converted


def _argument_type(item: dataclasses.Field[Any]) -> Callable[[str], Any]:
    return checked(lambda text: _convert(item, text))


def _convert(item: dataclasses.Field[Any], text: str) -> Any:
    kind = str(item.type).removesuffix(" | None")
    if item.name == "memory_limit":
        return parse_size(text)
    if item.name == "budget":
        return parse_time(text)
    if item.name == "until_stable":
        return percent(text)
    if kind == "int":
        return int(text)
    if kind == "float":
        return _fraction(text)
    if kind == "tuple[int, int]":
        numbers = [int(part) for part in text.replace("x", ",").split(",")]
        return (numbers[0], numbers[0]) if len(numbers) == 1 else tuple(numbers)
    if kind == "tuple[float, ...]":
        return tuple(_fraction(part) for part in text.split(","))
    return text


def _fraction(text: str) -> float:
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise OptionError(f"{text!r} is not a number", fix="write 0.0078125 or 1/255") from error


def _from_toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        read = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"cannot read the options file: {error.strerror or error}", where=path, fix=CHECK_PATH
        ) from error
    except (ValueError, RecursionError) as error:
        raise OptionError(
            f"cannot read the options file: {_why_unread(error)}",
            where=path,
            fix="write it in TOML, one flag a line under its name, such as max_samples = 500",
        ) from error
    tables = {"preprocess": read.pop("preprocess", {}), "qdq": read.pop("qdq", {})}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise OptionError(f"{name} must be a table", where=path, fix=f"write [{name}] above its keys")
    values = _typed(read, dataclasses.fields(Options), path)
    shared = {key: value for key, value in tables["preprocess"].items() if not isinstance(value, Mapping)}
    values["preprocess"] = _typed(shared, _image_fields(), f"{path} [preprocess]")
    own = {name: table for name, table in tables["preprocess"].items() if name not in shared}
    if own:
        values["preprocess"]["per_input"] = {
            name: _typed(table, _image_fields(), f"{path} [preprocess.{name}]") for name, table in own.items()
        }
    values["qdq"] = _typed(tables["qdq"], dataclasses.fields(QdqOptions), f"{path} [qdq]")
    return values


def _why_unread(error: ValueError | RecursionError) -> str:
    import tomllib

    match error:
        case tomllib.TOMLDecodeError():
            return str(error)
        case UnicodeDecodeError():
            return f"it is not text in UTF-8, from byte {error.start} on"
        case RecursionError():
            return "it is nested too deeply"
    return "a number in it has thousands of digits"


def _typed(read: Mapping[str, Any], items: Sequence[dataclasses.Field[Any]], where: str) -> dict[str, Any]:
    known = {item.name: item for item in items if item.name != "preprocess"}
    values: dict[str, Any] = {}
    for key, value in read.items():
        name = key.replace("-", "_")
        if name not in known:
            raise OptionError(f"{key!r} is not an option", where=where, fix=did_you_mean(name, known))
        values[name] = _from_toml_value(known[name], value, where)
    return values


def _from_toml_value(item: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """The value as the option's type has it; whether it fits is for the dataclass to say."""
    kind = str(item.type).removesuffix(" | None")
    if kind == "tuple[str, ...]":
        return _strings(item.name, value, where)
    if isinstance(value, str) and kind not in ("str", "bool"):
        try:
            return _convert(item, value)
        except ValueError as error:
            raise OptionError(f"{item.name} is {value!r}: {error}", where=where) from error
    if isinstance(value, list):
        return tuple(value)
    if kind == "tuple[float, ...]" and isinstance(value, int | float):
        return (value,)
    if kind == "tuple[int, int]" and isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return value


_ALSO_NUMBERS = {"item_axis", "until", "exclude"}  # exporters also name tensors by numbers


def _strings(name: str, value: Any, where: str) -> tuple[str, ...]:
    """What a repeatable flag gathers: a TOML file may give one value without brackets, axes and names as numbers."""
    values = value if isinstance(value, list) else [value]
    allowed = str | int if name in _ALSO_NUMBERS else str
    if any(isinstance(each, bool) or not isinstance(each, allowed) for each in values):
        raise OptionError(
            f"{name} is {value!r}", where=where, fix=f'write a list of strings: {name} = ["..."]'
        )
    return tuple(str(each) for each in values)
