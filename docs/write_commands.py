"""Write docs/commands.md, the commands with their arguments and options, from the commands' own signatures.

python docs/write_commands.py
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer import Typer
from typer.models import ArgumentInfo, OptionInfo

from atrous.cli import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

<!-- written by docs/write_commands.py -->

`atrous COMMAND --help` says the same in the terminal. Exit status 0 is success, 1 means that a check found something to
put right (`atrous data check`), 2 that something cannot be used, written or computed (one line on stderr says what and
what would do), 130 that Ctrl-C stopped the command.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, _top_level(app, "atrous"), *_sections(app, "atrous")])


def _top_level(typer_app: Typer, name: str) -> str:
    """Return the section of the options that stand before a command's name."""
    assert typer_app.registered_callback is not None
    assert typer_app.registered_callback.callback is not None
    text = f"{typer_app.info.help}\n\nEach command, and `{name}` itself, takes `--help` or `-h`."
    return _section(name, typer_app.registered_callback.callback, text, usage=f"{name} [OPTIONS] COMMAND ...")


def _sections(typer_app: Typer, prefix: str) -> Iterator[str]:
    for command in typer_app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield _section(f"{prefix} {name}", command.callback, command.help)
    for group in typer_app.registered_groups:
        assert group.typer_instance is not None
        name = group.name if isinstance(group.name, str) else group.typer_instance.info.name
        yield from _sections(group.typer_instance, f"{prefix} {name}")


def _section(name: str, callback: Callable[..., Any], given_help: str | None, usage: str | None = None) -> str:
    arguments, options = [], []
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        kind, *notes = get_args(parameter.annotation) if hasattr(parameter.annotation, "__metadata__") else (None,)
        for info in notes:
            if isinstance(info, ArgumentInfo) and not info.hidden:
                arguments.append((_argument(parameter, info), info.help or ""))
            elif isinstance(info, OptionInfo) and not info.hidden:
                options.append((_option(parameter, kind, info), info.help or "", _default(parameter, info)))
    usage = usage or " ".join([name, *(a for a, _ in arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## {name}\n", _unwrapped(given_help or callback.__doc__ or ""), f"\n```text\n{usage}\n```\n"]
    if arguments:
        parts += ["| argument | |", "|---|---|", *(f"| `{_cell(a)}` | {_cell(text)} |" for a, text in arguments), ""]
    if options:
        rows = (f"| {o} | {_cell(text)} | {default} |" for o, text, default in options)
        parts += ["| option | | default |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _argument(parameter: inspect.Parameter, info: ArgumentInfo) -> str:
    name = info.metavar if isinstance(info.metavar, str) else parameter.name.upper()
    return name if parameter.default is inspect.Parameter.empty or name.startswith("[") else f"[{name}]"


def _option(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> str:
    plain = _without_none(kind)
    names = _names(parameter, info, switch=plain is bool)
    if plain is bool:
        return " ".join(f"`{part}`" for name in names for part in name.split("/"))
    value = info.metavar if isinstance(info.metavar, str) else _value(plain)
    again = " (may be repeated)" if get_origin(plain) is list and "repeated" not in (info.help or "") else ""
    return ", ".join(f"`{_cell(f'{name} {value}')}`" for name in names) + again


def _names(parameter: inspect.Parameter, info: OptionInfo, *, switch: bool) -> list[str]:
    # In `Annotated[...]` a first name stands where a default value would.
    first = [info.default] if isinstance(info.default, str) else []
    given = [name for name in (*first, *(info.param_decls or ())) if name.startswith("-")]
    name = parameter.name.replace("_", "-")
    return given or [f"--{name}/--no-{name}" if switch and parameter.default is not False else f"--{name}"]


def _value(kind: Any) -> str:
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _default(parameter: inspect.Parameter, info: OptionInfo) -> str:
    default = parameter.default
    if default is inspect.Parameter.empty:
        return "required"
    if default is None or default == () or default == "":
        return ""
    if isinstance(default, bool):
        name = _names(parameter, info, switch=True)[0]
        return f"`{name.split('/')[0 if default else 1]}`" if "/" in name else ""
    return f"`{_cell(str(default))}`"


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (typing.Union, types.UnionType):
        left = [option for option in get_args(kind) if option is not type(None)]
        return left[0] if len(left) == 1 else kind
    return kind


def _cell(text: str) -> str:
    return _unwrapped(text).replace("|", r"\|")


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
