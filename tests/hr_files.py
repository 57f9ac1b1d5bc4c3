"""Files as HR departments send them: people of many countries, whole tables in any dialect, failed rows corrected."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faker import Faker
from hr import HEADER, HR, person

from worker.feeds.failed_rows import write_failed_rows
from worker.feeds.runs import Run

LOCALES = ("de_DE", "pl_PL", "tr_TR", "vi_VN", "ja_JP", "ar_SA", "he_IL", "fr_FR", "zh_CN", "el_GR", "hi_IN", "es_ES")


def crowd(count: int, begin: int = 100) -> list[dict[str, str]]:
    """So many people, their ids counted from `begin`, from one country after another; the same ones each time."""
    fakers = [Faker(locale) for locale in LOCALES]
    for faker in fakers:
        faker.seed_instance(20260302)
    found = []
    for number in range(count):
        faker = fakers[number % len(fakers)]
        found.append(person(f"{begin + number:05}", faker.first_name(), faker.last_name()))
    return found


def table(
    people: Iterable[Mapping[str, str]], header: Sequence[str] = HEADER, *, delimiter: str = ",", end: str = "\n",
    quote_all: bool = False,
) -> str:
    """The people as a CSV file of that dialect, quoted where it must be, or everywhere."""
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    writer.writerow(header)
    writer.writerows([one.get(name, "") for name in header] for one in people)
    return text.getvalue()


def failed_rows(hr: HR, run: Run, name: str = "failed.csv") -> Path:
    """The failed-rows file of a run."""
    lines = [line for line in hr.lines(run, "refused") if line["raw"] is not None]
    path = hr.folder / name
    count = write_failed_rows(hr.feed(run.source), run.reading, [(one["raw"], one["code"], one["text"]) for one in lines], path)
    assert count == len(lines)
    return path


def corrected(path: Path, correct: Callable[[dict[str, str]], dict[str, str] | None], encoding: str = "utf-8") -> Path:
    """Correct a failed-rows file of CSV as a person does in a spreadsheet: row by row; None leaves the row out."""
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.DictReader(file, restkey="more", restval="")
        names = list(reader.fieldnames or ())
        rows = [correct({name: cell for name, cell in one.items() if name != "more"}) for one in reader]
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(one for one in rows if one is not None)
    return path


def push(hr: HR, path: Path, source: str = "hr", *, delta: bool = True) -> Run:
    """Plan a part of a full file, apply it and do its jobs."""
    run = hr.feeds.plan_file(source, path, by="tester", delta=delta)
    assert run.state == "planned", (run.state, run.problem, run.brakes)
    return hr.carry(run)


def objects(people: Iterable[Mapping[str, Any]]) -> str:
    """The people as JSON, one object a line."""
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in people)
