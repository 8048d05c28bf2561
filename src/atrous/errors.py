"""The one error a user's mistake raises."""


class InputError(ValueError):
    """Something given by the user cannot be used.

    The message is one line: what it concerns (a file, an argument), what was expected, what was got
    and the remedy. Commands print it and exit with status 2.
    """


class MissingExtra(InputError, ImportError):
    """A command or a class needs an optional dependency; the message names the extra to install."""
