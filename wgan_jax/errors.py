"""Errors caused by user input."""


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and what to do.

    The entry points print it and exit with status 2.
    """
