"""Every payload comes back from the ledger as it went in, says what each field means, and old ones still load."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from stage import KINDS, Stage, examples

from worker.jobs import Kind, canonical
from worker.tables import job

STORED: list[dict[str, Any]] = [
    one for path in sorted(Path(__file__).parent.glob("payloads_v*.json")) for one in json.loads(path.read_text("utf-8"))
]
"""What releases have stored, for good: lines are added here, and none is changed or taken away."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def as_stored(kind: Kind, number: int) -> dict[str, Any]:
    """Return what the ledger holds of an example."""
    payload = kind.payload.model_validate(examples(kind.name)[number])
    return {"kind": kind.name, "payload": payload.open_fields(), "sealed": payload.sealed_values(),
            "version": kind.payload.version}


@every_kind
def test_a_payload_says_what_it_is(kind: Kind) -> None:
    assert kind.summary.endswith("."), "the module's docstring is one sentence"
    assert "\n" not in kind.summary
    assert examples(kind.name), "documentation and contracts are read off `examples`"
    assert kind.payload.__name__.lower() == kind.name.replace("_", ""), "one word for the job and for what it asks"
    for name, info in kind.payload.model_fields.items():
        assert info.description, f"{name} has no description"


@every_kind
def test_a_policy_is_within_reason(kind: Kind) -> None:
    assert 1 <= kind.policy.attempts <= 100
    assert kind.policy.base <= kind.policy.cap
    assert (kind.policy.life is not None) == (kind.shape == "edge"), "a mail that is never too late is sent years later"


@every_kind
def test_unknown_fields_are_refused(kind: Kind) -> None:
    for example in examples(kind.name):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted") as refusal:
            kind.payload.model_validate({**example, "pasword": "hunter2 of a person"})
        assert "hunter2" not in str(refusal.value)


@every_kind
def test_sealed_fields_stay_out_of_the_open_ones(kind: Kind) -> None:
    for example in examples(kind.name):
        payload = kind.payload.model_validate(example)
        secret = {name for name in type(payload).model_fields if isinstance(getattr(payload, name), SecretStr)}
        assert secret <= kind.payload.sealed_fields
        assert not kind.payload.sealed_fields & set(payload.open_fields())
        for name, value in (payload.sealed_values() or {}).items():
            given = example[name]
            assert value == (given if isinstance(given, str) else canonical(given).decode()), "objects are sealed as their text"
            assert value not in json.dumps(payload.open_fields())
            assert value not in repr(payload)


@every_kind
def test_a_payload_survives_json(kind: Kind) -> None:
    for number, example in enumerate(examples(kind.name)):
        payload = kind.load(kind.payload.version, json.loads(json.dumps(example)))
        stored = json.loads(json.dumps(as_stored(kind, number)))
        again = kind.load(stored["version"], stored["payload"], stored["sealed"])
        assert again == payload
        assert again.model_fields_set == payload.model_fields_set, "what was left out differs from what is the default"


def test_a_payload_survives_the_ledger(stage: Stage) -> None:
    for kind in KINDS:
        for number, example in enumerate(examples(kind.name)):
            job_id = stage.office.submit(kind.name, example, key=f"{kind.name} {number}", hold="only kept")
            [row] = stage.office.rows(job.name, id=job_id)
            wanted = kind.payload.model_validate(example)
            found = kind.load(row["version"], row["payload"], row["sealed"])
            assert found == wanted
            assert found.model_fields_set == wanted.model_fields_set
            assert {name: row[name] for name in ("payload", "sealed", "version")} == {
                name: value for name, value in as_stored(kind, number).items() if name != "kind"
            }


@pytest.mark.parametrize("stored", STORED, ids=lambda one: f"{one['kind']}-v{one['version']}")
def test_what_earlier_releases_stored_still_loads(stored: Mapping[str, Any]) -> None:
    """A failure here means: jobs that wait in somebody's ledger would be refused, or do something else.

    Then raise `version` of the payload class, add `upgraders[n]`, which turns the stored fields of version n into those
    of n+1 (a changed default is written out there), and append the examples of the new version to the file.
    """
    [kind] = [kind for kind in KINDS if kind.name == stored["kind"]]
    loaded = kind.load(stored["version"], stored["payload"], stored["sealed"])
    if stored["version"] == kind.payload.version:
        assert loaded.open_fields() == stored["payload"], "the same words mean something else now: raise the version"
        assert loaded.sealed_values() == stored["sealed"]


@every_kind
def test_what_this_release_stores_is_kept(kind: Kind) -> None:
    kept = [one for one in STORED if (one["kind"], one["version"]) == (kind.name, kind.payload.version)]
    for number in range(len(examples(kind.name))):
        line = as_stored(kind, number)
        assert line in kept, f"add this line to payloads_v1.json: {json.dumps(line, sort_keys=True)}"
