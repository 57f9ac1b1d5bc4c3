"""An invented company for the benchmark of feeds: its CSV file, its declaration, and the model that a reader of it would write."""

import csv
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal

from faker import Faker
from pydantic import BaseModel, StringConstraints

SEED = 20_261_123
# Whoever manages has so many people.
SPAN = 9
# A prime: ids that are this far apart come by each once.
STRIDE = 7_919
# One in so many has left, is planned to leave, or joins within the next weeks.
LEFT, LEAVING, JOINING = 100, 50, 200
TITLES = ("Assistant", "Analyst", "Clerk", "Engineer", "Technician", "Consultant", "Specialist", "Representative")
DEPARTMENTS = (
    "Sales", "Marketing", "Finance", "Controlling", "Purchasing", "Logistics", "Production", "Quality", "Research",
    "Development", "IT", "Legal", "HR", "Facilities", "Service", "Export", "Planning", "Safety", "Training", "Audit",
)  # fmt: skip
PLACES = (
    ("DE", "Berlin", "de", "Europe/Berlin"), ("DE", "München", "de", "Europe/Berlin"), ("AT", "Wien", "de", "Europe/Vienna"),
    ("FR", "Lyon", "fr", "Europe/Paris"), ("GB", "Leeds", "en-GB", "Europe/London"), ("PL", "Łódź", "pl", "Europe/Warsaw"),
    ("ES", "Málaga", "es", "Europe/Madrid"), ("US", "Chicago", "en-US", "America/Chicago"),
)  # fmt: skip
COUNTRIES = sorted({country for country, *_ in PLACES})
GROUPS = ["staff", *(f"dept-{one}" for one in DEPARTMENTS), *(f"country-{one}" for one in COUNTRIES), "engineers"]

HEADER = (
    "WorkerID", "FirstName", "MiddleName", "LastName", "Status", "HireDate", "LastDay", "Reason", "ManagerID", "Department",
    "CostCentre", "JobTitle", "JobCode", "JobFamily", "Company", "Country", "City", "Site", "Desk", "Phone", "Contract",
    "Language", "TimeZone", "WeeklyHours",
)  # fmt: skip

DECLARATION = """
[feeds.hr]
form = "csv"
mode = "full"
dates = ["%Y-%m-%d"]
usernames = ["{first}.{last}", "{first}.{middle:.1}.{last}", "{first}.{last}{n}"]
email = "{username}@example.com"
[feeds.hr.columns]
external_id = "WorkerID"
first = "FirstName"
middle = "MiddleName"
last = "LastName"
status = "Status"
start_date = "HireDate"
last_day = "LastDay"
reason = "Reason"
manager = "ManagerID"
locale = "Language"
zone = "TimeZone"
"attributes.department" = "Department"
"attributes.cost_centre" = "CostCentre"
"attributes.title" = "JobTitle"
"attributes.job_code" = "JobCode"
"attributes.company" = "Company"
"attributes.country" = "Country"
"attributes.city" = "City"
"attributes.site" = "Site"
"attributes.desk" = "Desk"
"attributes.phone" = "Phone"
"attributes.contract" = "Contract"
[feeds.hr.status]
Active = "active"
Terminated = "terminated"
[[feeds.hr.groups]]
rule = "everybody"
groups = ["staff"]
[[feeds.hr.groups]]
rule = "by department"
groups = ["dept-{attributes.department}"]
[[feeds.hr.groups]]
rule = "by country"
groups = ["country-{attributes.country}"]
[[feeds.hr.groups]]
rule = "engineers"
when = { "attributes.title" = ["Engineer", "Technician"] }
groups = ["engineers"]
"""

Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)]
Needed = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]


class Row(BaseModel):
    """The same columns as somebody would read them with pydantic alone."""

    WorkerID: Needed
    FirstName: Needed
    MiddleName: Word
    LastName: Needed
    Status: Literal["Active", "Terminated"]
    HireDate: date
    LastDay: date | Literal[""]
    Reason: Word
    ManagerID: Word
    Department: Word
    CostCentre: Word
    JobTitle: Word
    JobCode: Word
    JobFamily: Word
    Company: Word
    Country: Word
    City: Word
    Site: Word
    Desk: Word
    Phone: Word
    Contract: Word
    Language: Word
    TimeZone: Word
    WeeklyHours: float


def read_alone(path: Path) -> int:
    """Read a file with the csv module and the model, and keep nothing; returns the number of records."""
    count = 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        for row in rows:
            Row.model_validate(dict(zip(header, row, strict=True)))
            count += 1
    return count


def write_file(path: Path, people: int, today: date, changed_percent: float = 0) -> None:
    """Write the company's file, always the same for a number of people; so many per cent of them have moved."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(HEADER)
        out.writerows(_rows(people, today, changed_percent))


def _rows(people: int, today: date, changed_percent: float) -> Iterator[tuple[str, ...]]:
    chance, moves = random.Random(SEED), random.Random(SEED + 1)
    first, last = _names()
    for place in range(people):
        country, city, language, zone = chance.choice(PLACES)
        department, title = chance.choice(DEPARTMENTS), chance.choice(TITLES)
        hired = today - timedelta(days=chance.randrange(120, 12_000))
        status, end, reason = "Active", "", ""
        if place % LEFT == LEFT - 1:
            status, end, reason = "Terminated", (today - timedelta(days=chance.randrange(1, 60))).isoformat(), "resigned"
        elif place % LEAVING == LEAVING - 1:
            end = (today + timedelta(days=chance.randrange(10, 90))).isoformat()
        elif place % JOINING == 0:
            hired = today + timedelta(days=chance.randrange(1, 30))
        desk, phone = f"{chance.randrange(9)}.{chance.randrange(900):03}", f"+49 30 {chance.randrange(10**7):07}"
        row = [
            _id(place, people), chance.choice(first), chance.choice(first) if place % 3 == 0 else "", chance.choice(last), status,
            hired.isoformat(), end, reason, _id((place - 1) // SPAN, people) if place else "", department,
            f"{4000 + DEPARTMENTS.index(department) * 10 + place % 7}", title, f"J{TITLES.index(title):02}", title[:4].upper(),
            "Example AG" if country in ("DE", "AT") else f"Example {country} Ltd", country, city, f"{city} {1 + place % 4}", desk, phone,
            "permanent" if place % 8 else "fixed term", language, zone, "40.0" if place % 5 else "20.0",
        ]  # fmt: skip
        if moves.random() * 100 < changed_percent:
            row[9], row[11] = moves.choice(DEPARTMENTS), moves.choice(TITLES)
        yield tuple(row)


def _id(place: int, people: int) -> str:
    """The id of a person: in the file they stand in no order, and managers anywhere."""
    return f"{place * STRIDE % people + 1:07}" if people % STRIDE else f"{place + 1:07}"


def _names() -> tuple[list[str], list[str]]:
    fake = Faker(["de_DE", "en_GB", "fr_FR", "pl_PL", "es_ES"])
    fake.seed_instance(SEED)
    return sorted({fake.first_name() for _ in range(2_000)}), sorted({fake.last_name() for _ in range(4_000)})
