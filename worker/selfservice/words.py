"""What the pages say, in the languages that there are, and which of them a person reads."""

import logging
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from markupsafe import Markup, escape

from worker.mail import wording

log = logging.getLogger(__name__)

PACKAGED = Path(__file__).with_name("words")
# Below the folder of an operator's mail templates: pages/pl.toml beside send_recovery_email/body.pl.html.
OWN_FOLDER = "pages"
# A browser names a handful of languages; a longer list is no list of somebody's languages.
LONGEST_ACCEPT, MOST_ACCEPTED = 500, 10

Sentences = Mapping[str, str]


class Words:
    """The sentences of the pages by language. A language is there when it says all that English says."""

    def __init__(self, languages: Mapping[str, Sentences]) -> None:
        """`languages`: by tag, in lower case; each sentence by its name, such as recover.title."""
        self.languages = languages

    def choose(self, wanted: Iterable[str | None]) -> str:
        """Return the first language of `wanted` (tags such as pt-BR) that there is, else English."""
        for locale in wanted:
            for tag in wording.fallbacks(locale or ""):
                if tag.lower() in self.languages:
                    return tag.lower()
        return wording.FALLBACK_LANGUAGE

    def say(self, language: str, name: str, values: Mapping[str, Any]) -> Markup:
        """Return a sentence with its braces filled: names kept from turning the text around them, nothing read as HTML."""
        return escape(self.languages[language][name]).format(**{key: _filled(value) for key, value in values.items()})


@cache
def load(templates: Path | None) -> Words:
    """Read the packaged languages and those below an operator's folder, which may add one or say things otherwise.

    What an operator's file lacks is taken from the packaged one; a new language that lacks something is left out.
    """
    found = {path.stem.lower(): _read(path) for path in sorted(PACKAGED.glob("*.toml"))}
    needed = {name: _braces(text) for name, text in found[wording.FALLBACK_LANGUAGE].items()}
    for path in sorted((templates / OWN_FOLDER).glob("*.toml")) if templates is not None else ():
        said = found.get(path.stem.lower(), {}) | _own(path)
        wrong = [name for name, braces in needed.items() if not _braces(said.get(name, "{")) <= braces]
        if wrong:
            log.warning("selfservice.language_left_out", extra={"file": path, "wrong": ", ".join(wrong)})
        else:
            found[path.stem.lower()] = said
    return Words(found)


def accepted(header: str) -> list[str]:
    """Return the languages that a browser asks for, dearest first (Accept-Language, RFC 9110, 12.5.4)."""
    found: list[tuple[float, str]] = []
    for part in header[:LONGEST_ACCEPT].split(",")[:MOST_ACCEPTED]:
        tag, _, weight = part.partition(";")
        try:
            found.append((float(weight.strip().removeprefix("q=") or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(found, key=lambda one: -one[0]) if tag and weight > 0]


def _read(path: Path) -> dict[str, str]:
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        f"{section}.{name}": str(text)
        for section, said in sections.items() if isinstance(said, dict)
        for name, text in said.items()
    }  # fmt: skip


def _own(path: Path) -> dict[str, str]:
    try:
        return _read(path)
    except (OSError, ValueError) as problem:  # not TOML, or not UTF-8
        log.warning("selfservice.language_unreadable", extra={"file": path, "problem": problem})
        return {}


def _braces(text: str) -> set[str]:
    """What a sentence wants filled in; a text that cannot be filled wants something that there is not."""
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError:
        return {"?"}


def _filled(value: Any) -> Markup:
    if isinstance(value, Markup) or not isinstance(value, str):
        return escape(value)
    return Markup("<bdi>{}</bdi>").format(wording.harmless(value))
