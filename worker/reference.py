"""Writes the pages of docs/ that follow from the code: every job, reason, setting and key of a feed, each said once."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from worker import refusals
from worker.app import load_jobs
from worker.feeds.claims import FIELDS, KEYS
from worker.feeds.codes import CODES
from worker.feeds.declaration import Absent, Brake, Brakes, Complete, Feed, GroupRule, Leavers, Movers, Take, Webhook
from worker.jobs import Kind, Registry
from worker.ledger import SQLITE_BATCH
from worker.outcomes import REASONS
from worker.settings import PREFIX, Settings, variables

DOCS = Path(__file__).resolve().parents[1] / "docs"
COMMAND = "python -m worker.reference"
# Longer examples are written over several lines.
ONE_LINE = 100
_MADE = f"<!-- Written by `{COMMAND}`; what is changed here by hand is lost. -->"
_BEGIN, _END = f"<!-- settings: written by `{COMMAND}` -->", "<!-- settings end -->"

# Who says what no single job says.
_OF_THE_DOOR = ("unknown_kind", "unreadable", "bad_payload", "bad_key", "key_reused", "not_accepted_here", "newer_version")
_OF_THE_WAY = ("cancelled", "attempts_spent", "worker_killed", "outcome_unknown")
_SAID_BY: Mapping[str, str] = {
    **dict.fromkeys(_OF_THE_DOOR, "the door, of any job"),
    **dict.fromkeys(_OF_THE_WAY, "the way, of any job"),
    "bad_recovery": "the page behind a link",
    "outcome_unknown": "the way, of any mail",
}


def pages(docs: Path = DOCS) -> dict[Path, str]:
    """Return what each page should hold: whole pages, and those in which only a part is written by this."""
    registry = own_jobs()
    operate, feeds = docs / "operate.md", docs / "feeds.md"
    return {
        docs / "jobs.md": jobs_page(registry),
        docs / "reasons.md": reasons_page(registry),
        operate: with_settings(operate.read_text(encoding="utf-8")),
        feeds: with_feeds(feeds.read_text(encoding="utf-8")),
    }


def own_jobs() -> Registry:
    """Return the jobs that come with Muster, without those that others have declared in this process."""
    found = Registry()
    for kind in load_jobs(["actors"]):
        if kind.handler.__module__.startswith("actors."):
            found.add(kind)
    return found


def stale(docs: Path = DOCS) -> list[str]:
    """Return the names of the pages that do not say what the code says."""
    return [
        path.name
        for path, text in pages(docs).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def write(docs: Path = DOCS) -> list[str]:
    """Write the stale pages; returns their names."""
    changed = stale(docs)
    for path, text in pages(docs).items():
        if path.name in changed:
            path.write_text(text, encoding="utf-8")
    return changed


# ------------------------------------------------------------------------------------------------------ jobs


def jobs_page(registry: Registry) -> str:
    """Return docs/jobs.md."""
    rows = [(f"[`{kind.name}`](#{kind.name})", kind.summary, kind.policy.queue, kind.shape) for kind in registry]
    return "\n\n".join([
        _MADE, "# Jobs", _INTRODUCTION, "## All of them", table(("job", "what it does", "queue", "shape"), rows),
        _WORDS,
        *(job_section(kind) for kind in registry),
    ]) + "\n"  # fmt: skip


_INTRODUCTION = """\
Every kind of job that Muster can carry out: what it takes, how often it is tried, and how it can be refused. On the
command line `muster jobs kinds` lists them and `muster jobs kinds KIND` shows one. How a job gets in is told in
[enqueue.md](enqueue.md), what each reason means in [reasons.md](reasons.md)."""

_WORDS = """\
## Words of this page

- **user**: whom the job is about. A username as text (`"ann"`), or an object with one of `username`, `external_id` and
  `id`: `{"external_id": "E-1001"}`. A username that the person gave up by a rename still leads there.
- **duration**: ISO 8601 text (`"PT30M"`, `"P90D"`), or a number of seconds.
- **time**: ISO 8601 with a zone (`"2026-03-31T18:00:00+02:00"`), unless the field says otherwise. **date**: `"2026-03-31"`.
- **sealed**: kept apart in the ledger, left out of every listing and of the fingerprint, erased when the job ends.
- **shape**: how the handler is called ([tour.md](tour.md)). **directory** jobs only write to the database, and do so
  exactly once; **mail** jobs also reach a relay ([guarantees.md](guarantees.md)). Urgent jobs of any kind but mails are
  served by a thread of their own.
- **overtakes**: it does not wait in the person's line; what closes an account also cancels earlier jobs that could give
  access back.
  **gives access**: it is among those that such a job cancels (`superseded`).
- **tries**: after a fault the next try comes after a random wait; its upper bound doubles each time. A refusal is final
  and uses no more tries.

Any job can also end with `cancelled`, `attempts_spent` or `worker_killed`. Fields that are not listed are refused."""


def job_section(kind: Kind) -> str:
    """Return the section of one job."""
    examples = list(getattr(kind.payload, "examples", ()))
    parts = [f"## {kind.name}", kind.summary]
    said = cleandoc(kind.payload.__doc__ or "")
    if "__doc__" in vars(kind.payload) and said:
        parts.append(said)
    parts.append("\n".join(f"- {line}" for line in [*_policy(kind), *_standing(kind, examples)]))
    parts.append(payload_table(kind))
    parts.append("Refusals: " + ", ".join(f"`{code}`" for code in refusals.of(kind)) + ".")
    parts += [f"```json\n{example_text(example)}\n```" for example in examples]
    return "\n\n".join(parts)


def _policy(kind: Kind) -> list[str]:
    policy = kind.policy
    waits = f"waits of up to {duration(policy.base)}, then doubling, at most {duration(policy.cap)}"
    together = {
        "single": f"one by one, up to {policy.batch} in a transaction",
        "bulk": f"up to {policy.batch:,} at once in a transaction (on SQLite {min(policy.batch, SQLITE_BATCH)})",
        "edge": "gate, call and settling",
    }[kind.shape]
    lines = [f"Queue `{policy.queue}`, shape {kind.shape}: {together}.", f"{policy.attempts} tries, {waits}."]
    if policy.life is not None:
        lines.append(f"Worth sending for {duration(policy.life)}; not handed over by then, it is cancelled as `expired`.")
    if kind.shape == "edge":
        fate = {
            "resend": "sent again, the same bytes, after a rest", "hold": "held for a person",
            "again": "tried again like any other: the other side knows it by its id",
        }[policy.unknown]  # fmt: skip
        lines.append(f"When its outcome is unknown it is {fate}.")
    return lines


def _standing(kind: Kind, examples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say whether the job overtakes or gives access, as its examples do."""
    asked = [kind.payload.model_validate(example) for example in examples]
    told = []
    for what, answers in (
        ("Overtakes", [one.overtakes() for one in asked]), ("Gives access", [one.gives_access() for one in asked]),
    ):  # fmt: skip
        if all(answers):
            told.append(f"{what}.")
        elif any(answers):
            numbers = " and ".join(str(number) for number, answer in enumerate(answers, start=1) if answer)
            told.append(f"{what} as in example {numbers} below, and not as in the others.")
    return told


def payload_table(kind: Kind) -> str:
    """Return the table of a payload's fields."""
    schema = kind.payload.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", type_words(field, schema.get("$defs", {})) + _span(kind, name), "yes" if name in required else _default(field),
         field.get("description", ""), ", ".join(f"`{json.dumps(one, ensure_ascii=False)}`" for one in field.get("examples", ())))
        for name, field in schema.get("properties", {}).items()
    ]  # fmt: skip
    return table(("field", "type", "needed", "meaning", "example"), rows)


def _span(kind: Kind, name: str) -> str:
    """Return the bounds of a duration, which JSON Schema has no words for."""
    bounds = {
        word: duration(value)
        for rule in kind.payload.model_fields[name].metadata
        for word in ("ge", "gt", "le")
        if isinstance(value := getattr(rule, word, None), timedelta) and value
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le")
    if low is None or high is None:
        return "" if high is None else f" (at most {high})"
    return f" ({low} to {high})"


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    return "no" if value in (None, "", [], {}) else f"no, else `{json.dumps(value, ensure_ascii=False)}`"


def type_words(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return the type of a field (JSON Schema) in plain words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return "user" if name == "UserRef" else type_words(known[name], known)
    if "anyOf" in field:
        parts = [part for part in field["anyOf"] if part.get("type") != "null"]
        nullable = " or null" if len(parts) < len(field["anyOf"]) else ""
        return " or ".join(type_words(part, known) for part in parts) + nullable
    if "enum" in field or "const" in field:
        choices = [f"`{choice}`" for choice in field.get("enum", [field.get("const")])]
        return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]
    kind: Callable[[Mapping[str, Any]], str] = {
        "string": _text, "integer": _number, "number": _number, "boolean": lambda _: "true or false",
        "object": lambda _: "object", "array": lambda part: _list(part, known),
    }[field["type"]]  # fmt: skip
    return kind(field)


_FORMATS = {"date": "date", "date-time": "time", "duration": "duration", "password": "text, sealed", "path": "path"}


def _text(field: Mapping[str, Any]) -> str:
    if field.get("format") in _FORMATS:
        return _FORMATS[field["format"]]
    pattern = field.get("pattern", "")
    if pattern.startswith("^[0-9a-f]{8}"):
        return "id"
    blanks = " without blanks" if pattern == r"^\S+$" else ""
    low, high = field.get("minLength", 0), field.get("maxLength")
    if high is None:
        return f"text{blanks}" if low < 2 else f"text{blanks} (at least {low} characters)"
    return f"text{blanks} ({low} to {high} characters)" if low else f"text{blanks} (at most {high} characters)"


def _number(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    bounds = "" if low is None and high is None else f" from {low} to {high}" if high is not None else f", at least {low}"
    return ("whole number" if field["type"] == "integer" else "number") + bounds


def _list(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    of = type_words(field.get("items", {"type": "string"}), known)
    least = " (at least one)" if field.get("minItems") else ""
    most = f" (at most {field['maxItems']})" if "maxItems" in field else ""
    return f"list of {'texts' if of == 'text' else 'ids' if of == 'id' else of}{least}{most}"


def example_text(example: Mapping[str, Any]) -> str:
    """Return an example as JSON, over several lines when it is long."""
    line = json.dumps(example, ensure_ascii=False)
    return line if len(line) <= ONE_LINE else json.dumps(example, ensure_ascii=False, indent=2)


def duration(span: timedelta) -> str:
    """Return a span in the largest unit that measures it: 90 seconds, 3 hours, 7 days."""
    seconds = span.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size and seconds % size == 0 and (unit != "day" or seconds > size):
            return f"{seconds / size:.0f} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


# --------------------------------------------------------------------------------------- reasons and settings


def reasons_page(registry: Registry) -> str:
    """Return docs/reasons.md."""
    by = refusals.by_code(registry)
    rows = [
        (f"`{code}`", reason.text, "yes" if reason.curable else "no", "cancelled" if reason.overtaken else _ends(code),
         _SAID_BY.get(code) or ", ".join(f"`{name}`" for name in by[code]) or "nobody at present")
        for code, reason in REASONS.items()
    ]  # fmt: skip
    head = ("code", "what a person reads", "curable", "ends as", "said by")
    return "\n\n".join([_MADE, "# Reasons", _ABOUT_REASONS, table(head, rows)]) + "\n"


def _ends(code: str) -> str:
    if code in _OF_THE_DOOR:
        return "refused"
    return {"cancelled": "cancelled", "attempts_spent": "failed", "worker_killed": "failed", "outcome_unknown": "unknown",
            "bad_recovery": "refused"}.get(code, "rejected")  # fmt: skip


_ABOUT_REASONS = """\
Why a job did not do what it was asked to. Each reason is a code, which programs compare, and a sentence, in which the
words in braces are filled in. `muster jobs show ID` and `muster jobs list` show both.

**Curable**: the world may change so that the very same job goes through. `muster jobs retry` gives it a fresh start,
and so does the same message sent again with the same key. Of a reason that is not curable the job itself has to change.

**Refused** at the door means that nothing was written but, where nobody waits for an answer, a line in
`muster refusals list`."""


def with_settings(text: str) -> str:
    """Return docs/operate.md with its table of settings as the code has it. Raises ValueError when the markers are gone."""
    return _between(text, "operate.md", (_BEGIN, _END), settings_table())


def _between(text: str, page: str, marks: tuple[str, str], written: str) -> str:
    """Return a page with what stands between two lines of it written anew."""
    begin, found, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not found or not end:
        raise ValueError(f"docs/{page} has lost the lines {marks[0]} and {marks[1]}; put them around what is written by this")
    return f"{begin}{marks[0]}\n\n{written}\n\n{marks[1]}{after}"


def settings_table() -> str:
    """Return the table of all settings, and where those stand that no variable can hold."""
    fields = Settings.model_json_schema()["properties"]
    rows = [
        (f"`{PREFIX}{name.upper()}`", _setting(field), _preset(field.get("default")), field["description"])
        for name, field in fields.items()
        if name in variables()
    ]
    return f"{table(('variable', 'takes', 'if unset', 'meaning'), rows)}\n\n{_FEEDS_ARE_ELSEWHERE}"


_FEEDS_ARE_ELSEWHERE = "Sources of people are declared in `muster.toml`, in its tables `feeds` and `authority`: [feeds.md](feeds.md)."


def _setting(field: Mapping[str, Any]) -> str:
    words = type_words(field, {}).removesuffix(" or null")
    return words.replace("list of texts", "list with commas") if words.startswith("list") else words


def _preset(value: Any) -> str:
    if isinstance(value, list):
        value = ",".join(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in (None, "") else ""


# ------------------------------------------------------------------------------------------------------- feeds


def with_feeds(text: str) -> str:
    """Return docs/feeds.md with its tables as the code has them."""
    said: Mapping[str, str] = {
        "fields": table(("field", "what it holds"), [(f"`{name}`", words) for name, words in FIELDS.items()]),
        "keys": table(("key", "what it says"), [(f"`{name}`", words) for name, words in KEYS.items()]),
        "brakes": brakes_table(),
        "declaration": declaration_tables(),
        "codes": table(("code", "what it means, and what to do"), [(f"`{code}`", words) for code, words in CODES.items()]),
    }
    for name, written in said.items():
        text = _between(text, "feeds.md", (f"<!-- {name}: written by `{COMMAND}` -->", f"<!-- {name} end -->"), written)
    return text


_PARTS: Mapping[str, tuple[type[BaseModel], str]] = {
    "[feeds.NAME]": (Feed, "The name is that of the source: a small letter, then at most 40 of a-z, 0-9, _ and -."),
    "[feeds.NAME.columns]": (Take, "`field = \"Column\"`, or `field = { … }` with these keys."),
    "[[feeds.NAME.groups]]": (GroupRule, "One such table for each rule. Of two rules for one group the first is named."),
    "[feeds.NAME.leavers]": (Leavers, "What becomes of whoever leaves."),
    "[feeds.NAME.absent]": (Absent, "What becomes of whoever is missing from full files."),
    "[feeds.NAME.movers]": (Movers, "What becomes of the groups of before."),
    "[feeds.NAME.complete]": (Complete, "How a full file proves that it is whole."),
    "[feeds.NAME.webhook]": (Webhook, "Who sends by itself, and how it proves who it is: [Webhooks](#14-webhooks)."),
    "[feeds.NAME.brakes]": (Brake, "`brake = { … }` for each of the [brakes](#5-the-brakes), with these keys; `{}` switches a brake off."),
}  # fmt: skip


def declaration_tables() -> str:
    """Return the keys of a feed's declaration, table by table as muster.toml has them."""
    told = []
    for head, (part, words) in _PARTS.items():
        schema = part.model_json_schema()
        rows = [
            (f"`{name}`", _declared(name, field, schema.get("$defs", {})), _unset(name, field, schema), field["description"])
            for name, field in schema["properties"].items() if "description" in field
        ]  # fmt: skip
        told.append(f"### `{head}`\n\n{words}\n\n{table(('key', 'takes', 'if unset', 'meaning'), rows)}")
    return "\n\n".join(told)


def _declared(name: str, field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    inner = field.get("additionalProperties")
    if inner is not None:
        return f"table of {'columns' if name == 'columns' else type_words(inner, known)}"
    words = type_words(field, known).replace("text (1 to 1 characters)", "one character")
    return words.replace(" or null", ' or `"never"`' if name == "delete_days" else "")


def _unset(name: str, field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "has to be set"
    value = field.get("default")
    return f"`{json.dumps(value, ensure_ascii=False)}`" if value not in (None, "", [], {}) else ""


def brakes_table() -> str:
    """Return the brakes with what they let through unless declared otherwise."""
    rows = []
    for name, field in Brakes.model_fields.items():
        preset: Brake = field.default
        rows.append((f"`{name}`", field.description or "", f"{preset.percent:g}", str(preset.floor)))
    return table(("brake", "what it counts", "`percent`", "`floor`"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the pages of this clone."""
    if not DOCS.is_dir():
        sys.exit(f"There is no folder {DOCS}: the documentation stands in a clone of the repository, not in a package.")
    changed = write()
    sys.stdout.write(f"Written: {', '.join(changed)}.\n" if changed else "All pages say what the code says.\n")


if __name__ == "__main__":
    main()
