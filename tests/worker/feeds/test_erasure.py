"""Deleting a person takes them out of what the feeds keep too: state, plans, messages, names and cases."""

import json
from typing import Any

import pytest
from office import Office
from sqlalchemy import Table, insert

from worker import feed_tables as tables
from worker.directory.removal import pseudonym
from worker.feeds import inbox
from worker.ids import new_ids
from worker.tables import metadata

FEEDS = [table for name, table in sorted(metadata.tables.items()) if name.startswith("feed_")]
PERSONAL = ("ann", "archer", "00017", "e-1001")


class Kept:
    """What the feeds hr and badges keep of ann, whose account has the external id E-1001, and of bob."""

    def __init__(self, office: Office) -> None:
        self.office = office
        office.world()
        ann, bob = office.user("ann"), office.user("bob")
        assert ann is not None
        assert bob is not None
        self.hr, self.badges, *ids = new_ids(12)
        self.run(self.hr, "hr")
        self.run(self.badges, "badges")
        candidates = [{"id": one.id, "username": one.username, "external_id": one.external_id, "name": one.name, "by": ["email"]}
                      for one in (ann, bob)]  # fmt: skip
        for number, (external_id, account, name) in enumerate([("00017", "E-1001", "ann.archer"), ("2", "E-2", "bob.b")]):
            said = {"first": name, "attributes.room": f"secret office of {name}"}
            raw = json.dumps({"id": external_id, **said})
            self.put(
                tables.feed_person, source="hr", external_id=external_id, account=account, username=name, digest="d",
                fields=said, stamps={"*": [0, 1]}, later=[], applied={"fields": said}, phase="active", absent_runs=0, raw=raw,
                run=self.hr, changed_at=office.now,
            )  # fmt: skip
            self.put(
                tables.feed_action, run=self.hr, number=number, external_id=external_id, label=name, place=number, action="update",
                text=f"{name} moves", changes={"name": [None, name]}, groups={"added": {name: "r"}}, jobs=[{"kind": "x", "payload": said}],
                person=said, undo=said, raw=raw,
            )  # fmt: skip
            self.put(tables.feed_name, folded=name, username=name, source="hr", external_id=external_id, given=True, at=office.now)
            self.put(
                tables.feed_message, id=ids[number], source="hr", key=f"m{number}", external_id=external_id, raw=raw,
                received_at=office.now, state="taken", run=self.hr,
            )  # fmt: skip
            self.put(
                tables.feed_case, id=ids[2 + number], source="hr", external_id=external_id, label=name, code="disabled_by_hand",
                text=f"{name} was deactivated", candidates=[], state="open", created_at=office.now,
            )  # fmt: skip
        self.put(
            tables.feed_case, id=ids[4], source="badges", external_id="b-1", label="A. A.", code="ambiguous_match", text="which?",
            candidates=candidates, state="open", created_at=office.now,
        )  # fmt: skip
        self.put(
            tables.feed_case, id=ids[5], source="badges", external_id="b-2", label="B. B.", code="ambiguous_match", text="which?",
            candidates=candidates[:1], state="link", account=ann.id, created_at=office.now,
        )  # fmt: skip
        # Of another source, about somebody who has the same id there.
        self.put(tables.feed_action, run=self.badges, number=0, external_id="00017", label="Zoe", action="create")
        self.put(tables.feed_message, id=ids[6], source="badges", key="m0", external_id="00017", raw='"Zoe"',
                 received_at=office.now, state="new")  # fmt: skip

    def run(self, run_id: str, source: str) -> None:
        self.put(tables.feed_run, id=run_id, source=source, origin="file", state="applied", total=2, carried=2, created_at=self.office.now)

    def put(self, table: Table, **values: Any) -> None:
        with self.office.scope() as scope:
            scope.conn.execute(insert(table).values(values))

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return {table.name: sorted(self.office.rows(table.name), key=repr) for table in FEEDS}


@pytest.fixture
def kept(office: Office) -> Kept:
    return Kept(office)


def test_nothing_personal_is_left_in_the_feeds(office: Office, kept: Kept) -> None:
    before = kept.rows()
    assert office.do("delete_user", {"user": "ann"}).result["changed"]
    after = kept.rows()
    zoe = [row for name in ("feed_action", "feed_message") for row in after[name] if "Zoe" in repr(row)]
    assert len(zoe) == 2, "somebody with the same id in another source keeps theirs"
    for name, rows in after.items():
        for row in rows:
            held = json.dumps({key: str(value) for key, value in row.items()}).casefold()
            assert row in zoe or not [word for word in PERSONAL if word in held], (name, row)
    assert [row["external_id"] for row in after["feed_person"]] == ["2"]
    for name, rows in before.items():
        of_bob = [row for row in rows if row.get("external_id") == "2"]
        assert [row for row in after[name] if row.get("external_id") == "2"] == of_bob


def test_what_happened_stays_without_whom_it_happened_to(office: Office, kept: Kept) -> None:
    office.do("delete_user", {"user": "ann"})
    [line] = office.rows("feed_action", run=kept.hr, number=0)
    assert {name for name, value in line.items() if value is not None} == {"run", "number", "place", "action"}
    [message] = office.rows("feed_message", source="hr", key="m0")
    assert (message["raw"], message["external_id"], message["state"]) == (None, None, "taken")


def test_a_message_that_waits_for_a_plan_waits_in_vain(office: Office, kept: Kept) -> None:
    with office.scope() as scope:
        scope.conn.execute(tables.feed_message.update().values(state="new"))
    office.do("delete_user", {"user": "ann"})
    with office.app.database.read() as conn:
        assert [(one.key, "bob" in one.raw) for one in inbox.new_messages(conn, "hr", 10)] == [("m1", True)]


def test_who_decided_is_a_pseudonym_too(office: Office, kept: Kept) -> None:
    ann = office.user("ann")
    assert ann is not None
    with office.scope() as scope:
        scope.conn.execute(tables.feed_run.update().values(requested_by="ann", approved_by="bob"))
        scope.conn.execute(tables.feed_case.update().values(decided_by="ann"))
    office.do("delete_user", {"user": "ann"})
    assert {(row["requested_by"], row["approved_by"]) for row in office.rows("feed_run")} == {(pseudonym(ann.id), "bob")}
    assert {row["decided_by"] for row in office.rows("feed_case")} == {pseudonym(ann.id)}


def test_an_account_that_is_gone_is_nobodys_candidate(office: Office, kept: Kept) -> None:
    office.do("delete_user", {"user": "ann"})
    assert [(row["external_id"], [one["username"] for one in row["candidates"]]) for row in office.rows("feed_case", source="badges")] == [
        ("b-1", ["bob"])
    ]


def test_a_name_that_was_kept_for_a_deleted_person_is_never_given(office: Office, kept: Kept) -> None:
    """Though the account was called otherwise when it was deleted."""
    office.do("delete_user", {"user": "ann"})
    assert [row["folded"] for row in office.rows("feed_name")] == ["bob.b"]
    assert office.do("create_user", {"username": "Ann.Archer"}).reason == "deleted"


def test_a_name_that_somebody_else_has_by_now_stays_theirs(office: Office, kept: Kept) -> None:
    office.do("update_user", {"user": "carol", "username": "ann.archer"})
    office.do("delete_user", {"user": "ann"})
    assert office.do("update_user", {"user": "ann.archer", "name": "Carol Cook II"}).state == "succeeded"


def test_somebody_without_an_external_id_leaves_the_cases(office: Office, kept: Kept) -> None:
    office.do("add_to_group", {"user": "carol", "group": "administrators"})
    office.do("reactivate_user", {"user": "carol"})
    before = kept.rows()
    assert office.do("delete_user", {"user": "bob"}).result["changed"]
    after = kept.rows()
    assert [[one["username"] for one in row["candidates"]] for row in after["feed_case"] if row["external_id"] == "b-1"] == [["ann"]]
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
