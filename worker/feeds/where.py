"""At which line of muster.toml a key stands, so that what is wrong with it can be found."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

# A key of the file: names of tables, and numbers (from 0) in lists of tables.
Key = tuple[str | int, ...]

# What TOML 1.0 is made of, as far as lines and brackets go. Strings come first: a bracket in them is none.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|\n|[^\S\n]+|"
    r"""[^\s"'#\[\]{}=]+|.""",
    re.DOTALL,
)


def line_of(key: Key, lines: Mapping[Key, int]) -> int | None:
    """Return the line of a key, else of the nearest table or value around it; None when nothing of it is in the file."""
    return next((lines[key[:length]] for length in range(len(key), 0, -1) if key[:length] in lines), None)


def lines_of(text: str) -> dict[Key, int]:
    """Return the line (from 1) of every key and table of a TOML text, except those within inline tables.

    The text is one that tomllib reads; what becomes of any other is not said.
    """
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    for line, words in _statements(text):
        if words[0] == "[":
            many = words[1] == "["
            names = _names("".join(words[2:-2] if many else words[1:-1]))
            holder = _within((), names[:-1], counts)
            if many:
                counts[*holder, names[-1]] = counts.get((*holder, names[-1]), -1) + 1
            table = key = _within(holder, names[-1:], counts)
        else:
            key = (*table, *_names("".join(words[: words.index("=")])))
        for length in range(1, len(key) + 1):
            lines.setdefault(key[:length], line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give each header and each `key = value` with the line it begins at, without blanks and comments."""
    line, begin, depth = 1, 1, 0
    words: list[str] = []
    for word in _TOKEN.findall(text.replace("\r\n", "\n") + "\n"):
        if word == "\n" and depth == 0 and words:
            yield begin, words
            words = []
        elif word.strip() and not word.startswith("#"):
            begin = begin if words else line
            words.append(word)
            depth += (word in ("[", "{")) - (word in ("]", "}"))
        line += word.count("\n")


def _names(key: str) -> list[str]:
    """Return the parts of a key as it is written: `a."b.c"` has two."""
    names: list[str] = []
    inner: Any = tomllib.loads(f"{key} = 0")
    while isinstance(inner, dict):
        name, inner = next(iter(inner.items()))
        names.append(name)
    return names


def _within(holder: Key, names: list[str], counts: Mapping[Key, int]) -> Key:
    """Return a key whose lists of tables stand for their latest one."""
    for name in names:
        holder = (*holder, name)
        if holder in counts:
            holder = (*holder, counts[holder])
    return holder
