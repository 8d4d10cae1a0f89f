"""Values from files that nobody vouches for, in error messages."""

MAX_SHOWN = 60


def shown(value: object) -> str:
    """Return a value from a file as an error may print it: escaped, and not long."""
    text = ascii(value[:MAX_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
