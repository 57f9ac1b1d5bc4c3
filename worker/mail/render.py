"""Turns a mail's facts into its subject, its text and its HTML, from templates an operator can override."""

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from worker.mail import wording
from worker.mail.failures import safe_text

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2.runtime import Context

PARTS = ("subject.txt", "body.txt", "body.html")
"""The three files of every mail."""

SUBJECT_CHARACTERS = 78
"""A longer subject is cut off in most lists of mails."""

HTML_BYTES = 100_000
"""Gmail cuts a longer HTML part off, with the footer and perhaps the link."""

_PLAIN_TYPES = (str, int, bool, datetime, date, type(None))
_RESERVED = frozenset({"lang", "dir", "zone", "organisation", "support", "sender_name"})


class TemplateProblem(Exception):
    """A mail cannot be written from its templates."""


class Mail(BaseModel):
    """What a template may use: plain values only, so that a mail never depends on more than it says.

    A subclass has fields of str, int, bool, datetime, date, None, and lists or tuples of them, and answers sample().
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def sample(cls) -> Self:
        """Return a made-up mail of this kind, for previews and for checking templates."""
        raise TypeError(f"{cls.__name__} has no sample(); previews and `muster doctor` need one")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if name in _RESERVED:
                raise TypeError(f"{cls.__name__}.{name}: every template has a value of this name already")
            if not _is_plain(field.annotation):
                raise TypeError(f"{cls.__name__}.{name}: a mail holds plain values only, not {field.annotation}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The three faces of one mail, and the language they are written in; the subject is one line."""

    subject: str
    text: str
    html: str
    language: str


class Templates:
    """All mail templates, searched in `folders` from first to last; the last one is the packaged one.

    A template gets the fields of its Mail and `lang`, `dir`, `zone`, `organisation`, `support`, `sender_name`.
    `{% extends "!NAME/body.html" %}` reaches the packaged template under an operator's own. A language of its own is
    a file beside the others: `body.de.html`, `body.de.txt` and `subject.de.txt` together serve de, de-AT and so on.
    Changed files are read at the next start, so that a mail sent twice is the same mail. Safe for many threads.
    """

    DEFAULTS: ClassVar[tuple[str, str]] = ("your organisation", "your administrator")

    def __init__(
        self, folders: Sequence[Path], *, organisation: str = "", support: str = "", sender_name: str = "",
    ) -> None:
        import css_inline

        self.folders = tuple(folders)
        organisation = organisation or self.DEFAULTS[0]
        self._values = {
            "organisation": organisation,
            "support": support or self.DEFAULTS[1],
            "sender_name": sender_name or organisation,
        }
        self._environment = _environment(self.folders)
        self._languages: dict[tuple[str, str], str] = {}
        # No remote stylesheet: a mail must not ask a third party for anything. At-rules (dark mode) cannot be inlined.
        self._inliner = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)

    def render(self, kind: str, mail: Mail, *, locale: str = wording.FALLBACK_LANGUAGE, zone: str = "UTC") -> Rendered:
        """Write the mail `kind` for one person; raises TemplateProblem naming the file and what is wrong in it."""
        language = self._language(kind, locale)
        values = {name: _harmless(value) for name, value in mail}
        values |= self._values | {"lang": language, "dir": wording.direction(language), "zone": zone}
        subject, text, html = (self._write(kind, part, language, values) for part in PARTS)
        return Rendered(
            subject=" ".join(subject.split()),
            text=re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n",
            html=self._inline(kind, html),
            language=language,
        )

    def check(self, contexts: Mapping[str, type[Mail]]) -> list[str]:
        """Compile every file and write every mail with its sample; return what is wrong, a sentence each."""
        problems = [problem for folder in self.folders for problem in self._check_folder(folder, contexts)]
        for kind, context in contexts.items():
            for locale in (wording.FALLBACK_LANGUAGE, *sorted(self._translations(kind))):
                try:
                    rendered = self.render(kind, context.sample(), locale=locale)
                except (TemplateProblem, TypeError) as problem:
                    problems.append(str(problem))
                    continue
                problems += _complaints(kind, rendered, getattr(context.sample(), "link", None))
        return list(dict.fromkeys(problems))

    def _inline(self, kind: str, html: str) -> str:
        import css_inline

        try:
            return self._inliner.inline(html)
        except css_inline.InlineError as problem:
            raise TemplateProblem(f"{kind}/body.html: its styles cannot be read: {_blamed(problem)}.") from None

    def _language(self, kind: str, locale: str) -> str:
        found = self._languages.get((kind, locale))
        if found is None:
            written = self._translations(kind)
            found = next((name for name in wording.fallbacks(locale) if name in written), wording.FALLBACK_LANGUAGE)
            if len(self._languages) < 1000:  # locales come from people's records: no end of spellings
                self._languages[kind, locale] = found
        return found

    def _translations(self, kind: str) -> set[str]:
        """Return the languages in which all three files of `kind` exist, besides the packaged one."""
        files = {path.name for folder in self.folders for path in (folder / kind).glob("*.*.*")}
        found = {match[1] for name in files if (match := re.fullmatch(r"body\.([A-Za-z0-9-]+)\.html", name))}
        return {name for name in found if {f"subject.{name}.txt", f"body.{name}.txt"} <= files}

    def _write(self, kind: str, part: str, language: str, values: dict[str, object]) -> str:
        import jinja2

        stem, _, suffix = part.rpartition(".")
        names = [f"{kind}/{stem}.{language}.{suffix}", f"{kind}/{part}"]
        try:
            template: Template = self._environment.select_template(names)
            return template.render(values)
        except jinja2.TemplateNotFound as problem:
            raise TemplateProblem(f"{kind}/{part}: the template {problem.name} does not exist.") from None
        except jinja2.TemplateSyntaxError as problem:
            raise TemplateProblem(f"{problem.name}, line {problem.lineno}: {problem.message}.") from None
        except Exception as problem:  # whatever a template can do wrong, it is the template that has to be corrected
            raise TemplateProblem(f"{kind}/{part}: {type(problem).__name__}: {_blamed(problem)}.") from None

    def _check_folder(self, folder: Path, contexts: Mapping[str, type[Mail]]) -> list[str]:
        import jinja2

        if not folder.is_dir():
            return [f"The template folder {folder} does not exist."]
        problems: list[str] = []
        for path in sorted(folder.rglob("*.*")):
            name = path.relative_to(folder).as_posix()
            if path.suffix not in {".txt", ".html"} or not path.is_file():
                continue
            home = name.partition("/")[0]
            if home not in contexts and not home.startswith("_"):
                problems.append(f"{path}: no mail is called {home}; this file is never used.")
            try:
                self._environment.parse(path.read_text("utf-8"), name)
            except jinja2.TemplateSyntaxError as problem:
                problems.append(f"{path}, line {problem.lineno}: {problem.message}.")
            except (OSError, UnicodeDecodeError) as problem:
                problems.append(f"{path}: cannot be read as UTF-8 text ({problem}).")
        return problems


def packaged_folder() -> Path:
    """Return the folder of the templates that come with Muster: in the installed package, or in a clone beside it."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "templates" / "email"
    return installed if installed.is_dir() else package.parent / "templates" / "email"


def _environment(folders: tuple[Path, ...]) -> "Environment":
    from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    @pass_context
    def moment(context: "Context", value: datetime) -> str:
        return wording.moment(value, str(context["zone"]), str(context["lang"]))

    @pass_context
    def day(context: "Context", value: date) -> str:
        return wording.day(value, str(context["lang"]))

    @pass_context
    def duration(context: "Context", minutes: int) -> str:
        return wording.duration(minutes, str(context["lang"]))

    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([
            PrefixLoader({"": FileSystemLoader(folders[-1:])}, delimiter="!"),
            FileSystemLoader(folders),
        ]),
        undefined=StrictUndefined,
        autoescape=lambda name: bool(name and name.endswith(".html")),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {"moment": moment, "day": day, "duration": duration, "isolated": wording.isolated}
    return environment


def _complaints(kind: str, rendered: Rendered, link: object) -> list[str]:
    where = f"{kind} ({rendered.language})"
    problems: list[str] = []
    if not 0 < len(rendered.subject) <= SUBJECT_CHARACTERS:
        problems.append(
            f"{where}: the subject has {len(rendered.subject)} characters; it should have 1 to {SUBJECT_CHARACTERS}.",
        )
    if len(rendered.html.encode()) > HTML_BYTES:
        problems.append(f"{where}: the HTML is longer than {HTML_BYTES} bytes, and some mail programs cut it off there.")
    if isinstance(link, str):
        if rendered.text.count(link) != 1:
            problems.append(f"{where}: the text holds the link {rendered.text.count(link)} times; it should be once.")
        if f'href="{_escaped(link)}"' not in rendered.html:
            problems.append(f"{where}: the HTML holds no link to what the mail is about.")
    return problems


def _blamed(problem: Exception) -> str:
    """Return what an exception says, without the link that it may quote."""
    return safe_text(str(problem), tokens=True)


def _escaped(link: str) -> str:
    return link.replace("&", "&amp;").replace('"', "&quot;")


def _harmless(value: object) -> object:
    if isinstance(value, str):
        return wording.harmless(value)
    if isinstance(value, list | tuple):
        return tuple(_harmless(item) for item in value)
    return value


def _is_plain(kind: Any) -> bool:
    if get_origin(kind) in {Union, types.UnionType, list, tuple}:
        return all(inner is Ellipsis or _is_plain(inner) for inner in get_args(kind))
    return isinstance(kind, type) and issubclass(kind, _PLAIN_TYPES)
