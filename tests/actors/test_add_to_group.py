"""add_to_group puts people into groups, one or thousands at once, and can wait for a group."""

from office import Office
from sqlalchemy import event


def test_adding_says_whether_anything_changed(office: Office) -> None:
    office.world()
    assert office.do("add_to_group", {"user": "bob", "group": "Staff"}).result == {"changed": True}
    assert office.do("add_to_group", {"user": "bob", "group": "staff"}).result == {"changed": False}
    [added] = [one for one in office.events("bob") if one["data"] == {"group": "staff", "origin": "manual"}]
    assert (added["action"], added["target_name"]) == ("membership.added", "bob")


def test_who_or_what_is_unknown_is_refused_and_its_neighbours_go_on(office: Office) -> None:
    office.world()
    asked = [("bob", "staff"), ("nobody", "staff"), ("carol", "nowhere"), ("carol", "staff")]
    ids = [office.submit("add_to_group", {"user": user, "group": group}) for user, group in asked]
    office.drain()
    ended = [office.ended(job_id) for job_id in ids]
    assert [(one.state, one.reason) for one in ended] == [
        ("succeeded", None), ("rejected", "unknown_user"), ("rejected", "unknown_group"), ("succeeded", None)
    ]  # fmt: skip


def test_the_patient_wait_for_their_group(office: Office) -> None:
    office.world()
    job_id = office.submit("add_to_group", {"user": "bob", "group": "later", "patient": True})
    office.drain()
    assert office.ended(job_id).state == "scheduled"
    # The person's other jobs go on meanwhile.
    assert office.do("update_user", {"user": "bob", "locale": "de"}).state == "succeeded"
    office.later(hours=10)
    office.do("create_group", {"group": "later"})
    office.later(hours=10)
    office.drain()
    assert office.ended(job_id).result == {"changed": True}


def test_patience_ends_after_about_three_days(office: Office) -> None:
    office.world()
    job_id = office.submit("add_to_group", {"user": "bob", "group": "never", "patient": True})
    for _ in range(48):
        office.drain()
        office.later(hours=2)
    ended = office.ended(job_id)
    assert (ended.state, ended.reason, ended.attempts) == ("rejected", "unknown_group", 0)
    assert office.rows("groups", name="never") == []


def test_a_batch_takes_as_many_statements_as_a_pair(office: Office) -> None:
    office.world()
    for number in range(30):
        office.submit("create_user", {"username": f"u{number}"})
    office.drain()

    def statements(people: range) -> int:
        for number in people:
            office.submit("add_to_group", {"user": f"u{number}", "group": "staff"})
        seen: list[str] = []

        def watch(conn: object, cursor: object, statement: str, *rest: object) -> None:
            seen.append(statement)

        event.listen(office.app.database.engine, "before_cursor_execute", watch)
        office.runner.run("add_to_group", urgent=False)
        event.remove(office.app.database.engine, "before_cursor_execute", watch)
        return len(seen)

    assert statements(range(2)) == statements(range(2, 30))
    assert len(office.rows("membership")) == 32
