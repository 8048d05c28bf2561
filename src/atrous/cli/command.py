"""Command class whose errors name options in place of the library's arguments."""

import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

from ..errors import InputError

# At the start of an error about an argument: `max_side=0: expected ...` or `crf: expected ...`.
_ARGUMENT = re.compile(r"(\w+)(=|: )")

# In a remedy: `pass void=11`.
_REMEDY = re.compile(r"\bpass (\w+)=(?=\w)")


class Command(TyperCommand):
    """Command whose errors name the option in place of the library's argument."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            line = with_options(str(error), self.params)
            argument = _ARGUMENT.match(line)
            for parameter in self.params:
                if argument and parameter.name == argument[1] and _names_option(ctx, parameter):
                    rest = line[argument.end() :].replace(", or None for the default", "").replace(", or None", "")
                    line = f"{_option(parameter)}{argument[2].replace('=', ' ')}{rest}"
                    break
            if line == str(error):
                raise
            raise InputError(line) from error


def _names_option(ctx: Any, parameter: Any) -> bool:
    """Return whether a name at the start of a message is this parameter, and not a given file of the same name."""
    source = ctx.get_parameter_source(parameter.name)
    given = source is not None and source.name == "COMMANDLINE"
    return given and str(ctx.params.get(parameter.name)) != parameter.name


def with_options(text: str, parameters: Iterable[Any]) -> str:
    """Replace the arguments in a message's remedies by a command's options: `pass void=11` by `pass --void 11`."""
    options = {parameter.name: _option(parameter) for parameter in parameters}
    return _REMEDY.sub(lambda found: f"pass {options[found[1]]} " if found[1] in options else found[0], text)


def _option(parameter: Any) -> str:
    return max(parameter.opts, key=len)
