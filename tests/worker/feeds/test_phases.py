"""What should be so of a person at a moment: the phases, the zones they begin in, and that nothing shows too early."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.feeds.declaration import Feed
from worker.feeds.phases import Desired, desired, from_json, lateness

ZONE = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def a_feed(**more: Any) -> Feed:
    return Feed.model_validate({
        "name": "hr", "mode": "full", "columns": {"external_id": "id"}, "leavers": {"urgent_reasons": ["Gross misconduct"]},
        "groups": [{"rule": "all", "groups": ["staff"]}], **more,
    })  # fmt: skip


FEED = a_feed()


def at(moment: datetime, /, *runs: int, **fields: Any) -> Desired:
    """What is desired at a moment; after it may stand how many files in a row did not hold the person."""
    [absent_runs] = runs or (0,)
    return desired(FEED, fields, moment, absent_runs=absent_runs, default_zone=ZONE)


def midnight(text: str) -> datetime:
    """The instant of a wall time in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


def turns(feed: Feed, fields: dict[str, Any], since: datetime) -> list[tuple[str, datetime | None]]:
    """The phases from a moment on, each with its end."""
    found: list[tuple[str, datetime | None]] = []
    moment = since
    while True:
        one = desired(feed, fields, moment, default_zone=ZONE)
        found.append((one.phase, one.due_at))
        if one.due_at is None:
            return found
        moment = one.due_at


# ------------------------------------------------------------------------------------------------------- phases


def test_who_is_just_in_the_file_is_active() -> None:
    assert at(NOON) == Desired("active", groups={"staff": "all"})
    assert at(NOON, status=None).phase == "active"


def test_a_hire_comes_by_steps() -> None:
    fields = {"status": "active", "start_date": "2026-12-10", "last_day": "2027-03-31"}
    assert turns(FEED, fields, NOON) == [
        ("none", midnight("2026-12-03")), ("prehire", midnight("2026-12-10")), ("active", midnight("2027-04-01")),
        ("left", None),
    ]  # fmt: skip
    assert turns(a_feed(prehire_days=0), fields, NOON)[:2] == [
        ("none", midnight("2026-12-10")), ("active", midnight("2027-04-01")),
    ]  # fmt: skip
    assert at(NOON, **fields).groups == {}
    assert at(midnight("2026-12-03"), **fields).groups == {"staff": "all"}


def test_who_is_to_start_on_an_unknown_day_waits_for_it() -> None:
    assert (at(NOON, status="prehire").phase, at(NOON, status="prehire").due_at) == ("prehire", None)
    assert at(NOON, status="prehire", start_date="2026-11-23").phase == "active"
    assert at(NOON, status="prehire", start_date="9999-12-31").phase == "none"


@pytest.mark.parametrize(
    ("fields", "phase", "leaves_at", "why"),
    [
        ({"status": "terminated"}, "left", None, "terminated"),
        ({"status": "deceased", "reason": "Death"}, "left", None, "Death"),
        ({"status": "retired", "last_day": "2026-12-31"}, "active", midnight("2027-01-01"), "retired"),
        ({"status": "terminated", "last_day": "2026-11-22"}, "left", midnight("2026-11-23"), "terminated"),
        ({"status": "active", "last_day": "2026-11-23"}, "active", midnight("2026-11-24"), "last day of work"),
        ({"status": "active", "last_day": "2026-11-22"}, "left", midnight("2026-11-23"), "last day of work"),
        ({"status": "leave", "last_day": "2026-11-22"}, "left", midnight("2026-11-23"), "last day of work"),
        ({"status": "prehire", "start_date": "2027-01-01", "last_day": "2026-11-22"}, "left", midnight("2026-11-23"),
         "last day of work"),
        ({"status": "active", "last_day": "9999-12-31"}, "active", None, None),
        ({"status": "active", "last_day": "2100-12-31"}, "active", None, None),
        ({"status": "active", "last_day": "0001-01-01"}, "left", midnight("1900-01-02"), "last day of work"),
        ({"status": "rescinded", "last_day": "2027-01-01", "start_date": "2026-12-01"}, "left", None, "rescinded"),
    ],
)  # fmt: skip
def test_leaving(fields: dict[str, Any], phase: str, leaves_at: datetime | None, why: str | None) -> None:
    found = at(NOON, **fields)
    assert (found.phase, found.leaves_at, found.why) == (phase, leaves_at, why)
    assert found.groups == ({} if phase == "left" else {"staff": "all"})
    assert (found.urgent, found.absent, found.rescinded) == (False, False, fields["status"] == "rescinded")


def test_an_urgent_reason_waits_for_no_last_day() -> None:
    reason = "Gross misconduct"
    found = at(NOON, status="terminated", last_day="2026-12-31", reason=reason)
    assert (found.phase, found.urgent, found.leaves_at) == ("left", True, None)
    assert not at(NOON, status="terminated", last_day="2026-12-31", reason=reason.lower()).urgent
    assert at(NOON, status="active", last_day="2026-12-31", reason=reason).phase == "active", "has not been terminated"


def test_a_leave_ends_in_time_and_the_state_says_it_without_dates() -> None:
    assert turns(FEED, {"leave_from": "2026-11-24", "leave_to": "2026-11-30"}, NOON) == [
        ("active", midnight("2026-11-24")), ("leave", midnight("2026-12-01")), ("active", None),
    ]  # fmt: skip
    assert turns(FEED, {"leave_from": "2026-11-01"}, NOON) == [("leave", None)]
    assert turns(FEED, {"leave_from": "2026-11-01", "leave_to": "9999-12-31"}, NOON) == [("leave", None)]
    assert turns(FEED, {"leave_to": "2026-12-01"}, NOON) == [("active", None)], "nobody knows when it began"
    assert turns(FEED, {"leave_from": "2026-12-02", "leave_to": "2026-12-01"}, NOON) == [("active", None)]
    assert turns(FEED, {"status": "leave", "leave_to": "2026-11-01"}, NOON) == [("leave", None)]
    assert at(NOON, status="leave").groups == {"staff": "all"}


def test_before_the_first_day_there_is_no_leave() -> None:
    fields = {"start_date": "2026-11-30", "leave_from": "2026-11-20", "leave_to": "2026-12-05"}
    assert turns(FEED, fields, NOON) == [
        ("prehire", midnight("2026-11-30")), ("leave", midnight("2026-12-06")), ("active", None),
    ]  # fmt: skip


def test_only_absence_from_several_files_is_a_leaving() -> None:
    assert [at(NOON, runs).phase for runs in (0, 2, 3, 4)] == ["active", "active", "left", "left"]
    found = at(NOON, 3, last_day="2027-01-01")
    assert (found.absent, found.urgent, found.leaves_at) == (True, False, None)
    assert found == at(NOON, 9, last_day="2027-01-01"), "one more file is no news"
    assert not at(NOON, 9, status="terminated").absent, "who has left by their own word is not on the slower ladder"
    patient = a_feed(absent={"files": 0})
    assert desired(patient, {}, NOON, absent_runs=99, default_zone=ZONE).phase == "active"


# -------------------------------------------------------------------------------------------------------- zones


def test_the_last_day_in_melbourne_is_over_before_it_is_in_the_west() -> None:
    fields = {"status": "terminated", "last_day": "2026-11-23", "zone": "Australia/Melbourne"}
    over = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)  # UTC+11: midnight there, five in the morning in San Francisco
    assert at(over - timedelta(minutes=1), **fields).phase == "active", "it is 23:59 there"
    assert at(over, **fields).phase == "left"
    assert at(over, **{**fields, "zone": "America/Los_Angeles"}).phase == "active"


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25),
        ("Africa/Cairo", "2026-04-24", 23),  # the clock goes from midnight to one
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Pacific/Apia", "2011-12-30", 0), ("Pacific/Apia", "2011-12-31", 24),  # the day that never was
    ],
)  # fmt: skip
def test_a_day_is_as_long_as_it_is_there(zone: str, day: str, hours: float) -> None:
    began = at(datetime(2011, 1, 1, tzinfo=UTC), start_date=day, zone=zone)
    while began.phase != "active":
        assert began.due_at is not None
        moment = began.due_at
        began = at(moment, start_date=day, zone=zone)
    ends = at(moment, last_day=day, zone=zone).leaves_at
    assert ends is not None
    assert ends - moment == timedelta(hours=hours)


def test_without_a_zone_of_the_person_the_feeds_counts_then_that_of_the_settings() -> None:
    new_york = desired(a_feed(zone="America/New_York"), {"last_day": "2026-11-30"}, NOON, default_zone=ZONE)
    assert new_york.leaves_at == datetime(2026, 12, 1, 5, 0, tzinfo=UTC)
    assert at(NOON, last_day="2026-11-30").leaves_at == datetime(2026, 11, 30, 23, 0, tzinfo=UTC)


# ----------------------------------------------------------------------------------------- what the directory has


def test_the_directory_gets_what_the_source_says_and_no_more() -> None:
    said = {"first": "Ann", "middle": None, "last": "Archer", "email": None, "type": None, "zone": "Asia/Tokyo",
            "last_day": "2027-01-01", "attributes.office": "B2", "attributes.desk": None, "manager": "E-1"}  # fmt: skip
    found = at(NOON, **said)
    assert found.fields == {
        "name": "Ann Archer", "email": None, "zone": "Asia/Tokyo", "end_date": "2027-01-01",
        "attributes": {"office": "B2", "desk": None},
    }  # fmt: skip
    assert found.manager == "E-1"


def test_a_name_of_its_own_counts_where_the_feed_has_one_and_its_parts_where_not() -> None:
    said = {"name": "Dr. A. Archer", "first": "Ann", "last": "Baker"}
    named = a_feed(columns={"external_id": "id", "name": "full name", "first": "first", "last": "last"})
    assert desired(named, said, NOON, default_zone=ZONE).fields == {"name": "Dr. A. Archer"}
    parts = a_feed(columns={"external_id": "id", "first": "first", "last": "last"})
    assert desired(parts, said, NOON, default_zone=ZONE).fields == {"name": "Ann Baker"}


def test_the_path_can_be_made_of_what_is_said() -> None:
    feed = a_feed(path="users/{attributes.country}/{attributes.department}")
    said = {"attributes.country": "DE", "attributes.department": "Sales"}
    assert desired(feed, said, NOON, default_zone=ZONE).fields["path"] == "users/DE/Sales"
    assert desired(feed, {**said, "path": "users/vip"}, NOON, default_zone=ZONE).fields["path"] == "users/vip"
    assert "path" not in desired(feed, {"attributes.country": "DE"}, NOON, default_zone=ZONE).fields


# ------------------------------------------------------------------------------------------------------ any case

DAYS = st.dates(date(2026, 11, 10), date(2026, 12, 10)).map(date.isoformat)
PEOPLE = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["prehire", "active", "leave", "terminated", "retired", "deceased", "rescinded"]),
        "reason": st.sampled_from(["Gross misconduct", "Retirement", None]),
        "start_date": DAYS | st.sampled_from([None, "1999-01-01", "9999-12-31"]),
        "last_day": DAYS | st.sampled_from([None, "9999-12-31"]),
        "leave_from": DAYS, "leave_to": DAYS | st.just("9999-12-31"),
        "zone": st.sampled_from(["Australia/Melbourne", "Pacific/Apia", "America/St_Johns", "Africa/Cairo"]),
        "groups": st.just(["choir"]), "manager": st.just("E-1"), "attributes.office": st.just("B2"),
    },
)  # fmt: skip
MOMENTS = st.integers(0, 50 * 24 * 60).map(lambda minutes: datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=minutes))


@settings(max_examples=200)
@given(PEOPLE, MOMENTS, st.integers(0, 4), st.floats(0, 1, exclude_max=True))
def test_until_it_is_due_all_stays_as_it_is_and_then_it_does_not(
    fields: dict[str, Any], now: datetime, absent_runs: int, part: float
) -> None:
    present = at(now, absent_runs, **fields)
    span = (present.due_at or now + timedelta(days=400)) - now
    assert span > timedelta(0)
    assert at(min(now + span * part, now + span - timedelta(microseconds=1)), absent_runs, **fields) == present
    if present.due_at is not None:
        assert at(present.due_at - timedelta(microseconds=1), absent_runs, **fields) == present
        assert replace(at(present.due_at, absent_runs, **fields), due_at=present.due_at) != present


@settings(max_examples=200)
@given(PEOPLE, MOMENTS, st.integers(0, 4))
def test_nothing_of_the_future_shows_early(fields: dict[str, Any], now: datetime, absent_runs: int) -> None:
    """Dates that are still to come give no more access than if nothing were known of their being dates."""
    present = at(now, absent_runs, **fields)
    today = now.astimezone(ZoneInfo(fields.get("zone") or ZONE.key)).date().isoformat()
    start, last = fields.get("start_date"), fields.get("last_day")
    status = fields.get("status", "active")
    if start and start > today:
        assert present.phase in ("none", "prehire", "left")
    urgent = status in ("terminated", "retired", "deceased") and (not last or last > "2100" or fields.get("reason"))
    if (not last or last >= today) and absent_runs < 3 and status != "rescinded" and not urgent:
        assert present.phase != "left"
    if present.phase == "leave" and status != "leave":
        assert fields["leave_from"] <= today <= fields.get("leave_to", "9999")
    assert bool(present.groups) == (present.phase in ("prehire", "active", "leave"))


@given(PEOPLE, MOMENTS, st.integers(0, 4))
def test_it_comes_back_from_storage_as_it_was(fields: dict[str, Any], now: datetime, absent_runs: int) -> None:
    found = at(now, absent_runs, **fields)
    stored = found.as_json()
    assert from_json(json.loads(json.dumps(stored))) == found
    assert all(stored.values()), "what is empty is left out"


# ----------------------------------------------------------------------------------------------------------- late


def test_a_leaving_that_was_heard_of_after_it_is_late_by_the_time_since_its_end() -> None:
    before = at(NOON - timedelta(days=1))
    for last_day, over in (("2026-11-19", "2026-11-20"), ("2026-10-14", "2026-10-15")):
        after = at(NOON, status="terminated", last_day=last_day)
        assert lateness(before, after, NOON) == NOON - midnight(over)


def test_what_was_known_in_time_is_not_late() -> None:
    announced = {"status": "terminated", "last_day": "2026-11-20"}
    before = at(midnight("2026-11-19"), **announced)
    assert lateness(before, at(NOON, **announced), NOON) is None, "the job of that day did it, whatever was down meanwhile"
    left = at(NOON, **announced)
    assert lateness(left, at(NOON, status="terminated", last_day="2026-11-18"), NOON) is None, "has left already"
    assert lateness(at(NOON), at(NOON, status="terminated"), NOON) is None, "no day was named"
    earlier = at(NOON, status="terminated", last_day="2026-11-18")
    assert lateness(before, earlier, NOON) == NOON - midnight("2026-11-19"), "the day was moved back into the past"


def test_a_start_that_was_heard_of_after_it_is_late_too() -> None:
    after = at(NOON, start_date="2026-11-20", zone="Europe/Berlin")
    assert lateness(None, after, NOON) == NOON - midnight("2026-11-20")
    assert lateness(None, at(NOON, start_date="2026-11-20"), NOON, ZONE) == NOON - midnight("2026-11-20")
    assert lateness(at(midnight("2026-11-18"), start_date="2026-11-20"), after, NOON) is None, "it was known"
    assert lateness(at(NOON, start_date="2026-12-24"), after, NOON) == NOON - midnight("2026-11-20")
    assert lateness(None, at(NOON, start_date="2019-04-01"), NOON) is None, "has worked there for years"
    assert lateness(None, at(NOON, start_date="2026-11-24"), NOON) is None
    assert lateness(None, at(NOON), NOON) is None
