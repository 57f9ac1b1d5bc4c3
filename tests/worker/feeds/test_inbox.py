"""Messages of HR systems are kept as they came, each once, whatever is in them and however often it is sent."""

import json

import pytest
from office import Office

from worker.feeds import inbox
from worker.ids import new_id

ODD = ['{"a": "\\u0000"}', "\0", '{"half": "\\ud800"}', "\ud83d", "", "not JSON", '{"a": NaN}', '"Ping test"', "[" * 2_000, "'; --%s :x"]


def store(office: Office, *messages: tuple[str | None, str], source: str = "hr") -> list[inbox.Stored]:
    with office.scope() as scope:
        return inbox.store(scope, source, messages)


def waiting(office: Office, limit: int = 100, after: str | None = None, source: str = "hr") -> list[inbox.Message]:
    with office.app.database.read() as conn:
        return inbox.new_messages(conn, source, limit, after)


def test_messages_wait_in_the_order_of_arrival(office: Office) -> None:
    made = store(office, *((f"m{number}", f'{{"n": {number}}}') for number in (3, 1, 2)))
    store(office, ("m1", '{"n": "of another source"}'), source="other")
    found = waiting(office)
    assert [(one.key, one.raw) for one in found] == [("m3", '{"n": 3}'), ("m1", '{"n": 1}'), ("m2", '{"n": 2}')]
    assert [one.id for one in found] == [one.id for one in made]
    assert {one.received_at for one in found} == {office.now}
    assert [one.key for one in waiting(office, limit=1, after=found[0].id)] == ["m1"]


def test_a_message_sent_again_is_stored_once(office: Office) -> None:
    text = '{"id": "e1", "timestamp": "2026-03-02T09:00:00Z", "data": {"id": "00017", "status": "Active"}}'
    [first, twin] = store(office, ("e1", text), ("e1", text))
    assert (first.new, twin.new, twin.id) == (True, False, first.id)
    laid_out = json.dumps(json.loads(text) | {"timestamp": "2026-03-02T09:05:00Z", "deliveryAttempt": 2}, indent=2)
    for again in (text, laid_out):
        assert store(office, ("e1", again)) == [inbox.Stored(first.id, "e1", new=False)]
    assert [one.raw for one in waiting(office)] == [text], "the first one stays as it came"
    assert office.rows("refusal") == []


def test_an_id_used_for_something_else_is_refused_and_noted(office: Office) -> None:
    [first] = store(office, ("e1", '{"status": "Active"}'))
    answers = store(office, ("e1", '{"status": "Terminated of Ann"}'), ("e2", '{"n": 1}'), ("e2", '{"n": 2}'))
    assert [(one.new, one.reused) for one in answers] == [(False, True), (True, False), (False, True)]
    assert answers[0].id == first.id
    assert [one.raw for one in waiting(office)] == ['{"status": "Active"}', '{"n": 1}']
    noted = office.rows("refusal")
    assert sorted((row["reason"], row["key"], row["source"]) for row in noted) == [("key_reused", "e1", "hr"), ("key_reused", "e2", "hr")]
    assert "Ann" not in repr(noted)


def test_a_message_without_an_id_is_known_by_its_content(office: Office) -> None:
    [first, other, same] = store(office, (None, '{"a": 1, "b": 2}'), (None, '{"a": 1}'), (None, '{ "b": 2, "a": 1 }'))
    assert (first.new, other.new, same.new, same.id) == (True, True, False, first.id)
    [elsewhere] = store(office, (None, '{"a": 1}'), source="other")
    assert (elsewhere.new, elsewhere.key) == (True, other.key)
    later = store(office, (None, '{"a": 1, "timestamp": 5}'))
    assert later[0].new, "nothing says that it is the same but its content, and that differs"


@pytest.mark.parametrize("named", [True, False])
def test_whatever_a_message_holds_it_is_stored(office: Office, named: bool) -> None:
    keys = [f"k\0{number}\ud800" if named else None for number in range(len(ODD))]
    made = store(office, *zip(keys, ODD, strict=True))
    assert all(one.new for one in made)
    assert [one.raw for one in waiting(office)] == [
        text.replace("\0", "\ufffd").replace("\ud83d", "\ufffd\ufffd\ufffd") for text in ODD
    ]
    assert [(one.id, one.new, one.reused) for one in store(office, *zip(keys, ODD, strict=True))] == [
        (one.id, False, False) for one in made
    ]


def test_a_long_id_tells_messages_apart_all_the_same(office: Office) -> None:
    made = store(office, ("x" * 300 + "1", "{}"), ("x" * 300 + "2", "{}"), ("x" * 255, "{}"))
    assert len({one.key for one in made}) == 3
    assert all(one.new and len(one.key) <= inbox.KEY_LENGTH for one in made)


def test_a_run_says_what_it_made_of_messages(office: Office) -> None:
    made = store(office, ("a", "{}"), ("b", "{}"), ("c", "{}"))
    run = new_id()
    with office.scope() as scope:
        assert inbox.mark(scope, [made[1].id, made[0].id], "taken", run, {made[0].id: "00017"}) == 2
        assert inbox.mark(scope, [], "taken", run) == 0
    assert [one.key for one in waiting(office)] == ["c"]
    with office.scope() as scope:
        inbox.mark(scope, [made[2].id], "refused", run)
    rows = sorted((row["key"], row["state"], row["external_id"], row["run"]) for row in office.rows("feed_message"))
    assert rows == [("a", "taken", "00017", run), ("b", "taken", None, run), ("c", "refused", None, run)]
    assert not store(office, ("a", "{}"))[0].new, "a message that was taken is still known"


def test_what_is_left_of_an_erased_message_answers_for_it(office: Office) -> None:
    [first] = store(office, ("e1", '{"a": 1}'))
    with office.scope() as scope:
        from worker.feed_tables import feed_message

        scope.conn.execute(feed_message.update().values(raw=None))
    assert store(office, ("e1", '{"a": 2}')) == [inbox.Stored(first.id, "e1", new=False)]


def test_what_looks_like_a_password_is_not_kept(office: Office) -> None:
    said = {"id": "e1", "person": {"external_id": "7", "Kennwort": "s3cr3t-1", "login": {"password": "s3cr3t-2", "name": "ann"}}}
    store(office, ("e1", json.dumps(said)))
    [found] = waiting(office)
    assert "s3cr3t" not in found.raw
    assert json.loads(found.raw)["person"]["login"] == {"password": "", "name": "ann"}
    assert not store(office, ("e1", json.dumps(said)))[0].new
