"""set_legal_hold: nobody deletes this person, whatever was planned."""

import threading
from collections.abc import Iterator

import pytest
from office import Office

HOLD = {"user": "ann", "owner": "legal department", "reason": "case 12/2026"}


def test_a_held_person_cannot_be_deleted(office: Office) -> None:
    office.world()
    ended = office.do("set_legal_hold", HOLD)
    assert (ended.state, ended.result["changed"], ended.result["deletion_cancelled"]) == ("succeeded", True, False)
    for fields in ({"user": "ann"}, {"user": "ann", "grace": "P1D"}):
        refused = office.do("delete_user", fields)
        assert (refused.state, refused.reason) == ("rejected", "legal_hold")
    ann = office.user("ann")
    assert ann is not None
    assert (ann.is_active, ann.hold_owner, ann.hold_reason) == (True, "legal department", "case 12/2026")
    assert office.do("set_legal_hold", HOLD).result["changed"] is False


def test_it_cancels_a_planned_deletion_and_opens_nothing(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann"})
    assert office.do("set_legal_hold", HOLD).result["deletion_cancelled"]
    office.later(days=400)
    office.drain()
    ann = office.user("ann")
    assert ann is not None
    assert (ann.is_active, ann.delete_at) == (False, None)


def test_a_leaver_under_hold_leaves_but_is_not_planned_for_deletion(office: Office) -> None:
    office.world()
    office.do("set_legal_hold", HOLD)
    ended = office.do("offboard_user", {"user": "ann"})
    assert (ended.result["changed"], ended.result["legal_hold"], ended.result["delete_at"]) == (True, True, None)
    assert office.jobs("delete_user") == []


@pytest.fixture
def two(postgres_url: str) -> Iterator[tuple[Office, Office]]:
    """Two workers' offices on one PostgreSQL database."""
    first, second = Office(postgres_url), Office(postgres_url)
    first.world()
    yield first, second
    second.close()
    first.close()


@pytest.mark.parametrize("turn", range(4))
def test_a_hold_and_a_deletion_at_one_moment_never_both_happen(two: tuple[Office, Office], turn: int) -> None:
    holder, deleter = two
    jobs = holder.submit("set_legal_hold", HOLD), deleter.submit("delete_user", {"user": {"external_id": "E-1001"}})
    start = threading.Barrier(2)

    def work(office: Office) -> None:
        start.wait()
        office.drain()

    threads = [threading.Thread(target=work, args=(office,)) for office in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder.drain()
    held, deleted = (holder.ended(job) for job in jobs)
    ann = holder.user("ann")
    if ann is None:
        assert (held.state, held.reason, deleted.state) in {
            ("cancelled", "cancelled", "succeeded"), ("rejected", "unknown_user", "succeeded")
        }  # fmt: skip
    else:
        assert ann.held
        assert (held.state, deleted.state, deleted.reason) == ("succeeded", "rejected", "legal_hold")
