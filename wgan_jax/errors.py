"""What a person can put right."""


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and what to do.

    The doors print it and leave with exit status 2.
    """
