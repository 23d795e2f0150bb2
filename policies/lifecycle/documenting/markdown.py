"""What people wrote, in Markdown that says just that."""

import re
from collections.abc import Iterable, Iterator


def bullets(texts: Iterable[str]) -> Iterator[str]:
    return (f"- {text}" for text in texts)


def text(said: str) -> str:
    """What a person wrote, on one line, so that it breaks neither a list nor a table, and is no link or HTML."""
    return re.sub(r"([\\`|\[\]])", r"\\\1", re.sub(r"\s+", " ", said).strip()).replace("<", "&lt;")
