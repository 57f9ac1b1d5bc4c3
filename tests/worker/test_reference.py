"""The written documentation says what the code says: jobs, reasons and settings."""

from datetime import timedelta

import pytest

from worker import reference, refusals


def test_the_pages_are_up_to_date() -> None:
    stale = reference.stale()
    assert not stale, f"stale: {', '.join(stale)}. Type `{reference.COMMAND}` in the root of the repository."


def test_refusals_are_found_wherever_they_are_decided() -> None:
    jobs = reference.own_jobs()
    assert "stale_version" in refusals.of(jobs["update_user"])  # in the job's own file
    assert "own_manager" in refusals.of(jobs["update_user"])  # in a method of a class that the directory uses
    assert "last_administrator" in refusals.of(jobs["remove_from_group"])
    assert "last_administrator" not in refusals.of(jobs["lock_user"])
    assert refusals.of(jobs["unlock_user"]) == ["unknown_user"]
    assert "expired" in refusals.of(jobs["send_recovery_email"])


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "string", "minLength": 1, "maxLength": 9}, "text (1 to 9 characters)"),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "date or null"),
        ({"enum": ["a", "b", "c"], "type": "string"}, "`a`, `b` or `c`"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, "list of texts (at most 3)"),
        ({"$ref": "#/$defs/UserRef"}, "user"),
        ({"type": "integer", "minimum": 0, "maximum": 20}, "whole number from 0 to 20"),
    ],
)
def test_types_in_plain_words(field: dict[str, object], words: str) -> None:
    assert reference.type_words(field, {}) == words


def test_durations_in_the_largest_unit_that_measures_them() -> None:
    spans = {90: "90 seconds", 60: "1 minute", 3600 * 24: "24 hours", 3600 * 72: "3 days"}
    assert {seconds: reference.duration(timedelta(seconds=seconds)) for seconds in spans} == spans


def test_a_page_that_lost_its_markers_is_named() -> None:
    with pytest.raises(ValueError, match=r"operate\.md"):
        reference.with_settings("# Operate\n")
