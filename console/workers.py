"""How many processes serve this console, as far as one of them can tell."""

from collections.abc import Mapping, Sequence

OPTIONS = ("--workers", "-w")  # of uvicorn and of gunicorn


def announced(variables: Mapping[str, str], arguments: Sequence[str]) -> int:
    """The number given on the command line, else in WEB_CONCURRENCY (both servers read it), else 1."""
    words = list(arguments)
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in OPTIONS:
            return number(value or (words[index + 1] if index + 1 < len(words) else ""))
    return number(variables.get("WEB_CONCURRENCY", ""))


def number(word: str) -> int:
    """What is no number is the server's to refuse."""
    return int(word) if word.isdecimal() else 1
