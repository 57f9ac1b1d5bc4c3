"""What may happen only so often is counted for all servers together, without names, and forgotten in time."""

from datetime import timedelta

from office import Office
from posts import everything
from races import meet

from worker import throttle
from worker.throttle import Limit

THREE = Limit("trial", 3, timedelta(minutes=15))


def take(office: Office, what: str = "ann", limit: Limit = THREE) -> timedelta | None:
    with office.scope() as scope:
        return throttle.take(scope, limit, what)


def test_there_is_room_for_so_many_and_again_after_the_window(office: Office) -> None:
    assert [take(office) for _ in range(3)] == [None] * 3
    office.later(minutes=5)
    assert take(office) == take(office) == timedelta(minutes=10)
    assert take(office, "bob") is None
    assert take(office, limit=Limit("another", 1, timedelta(minutes=15))) is None
    office.later(minutes=10)
    assert [take(office) for _ in range(4)] == [None, None, None, timedelta(minutes=15)]


def test_two_servers_count_one_after_the_other(office: Office) -> None:
    one = Limit("trial", 1, timedelta(minutes=15))
    first, second, waited = meet(
        office, lambda scope: throttle.take(scope, one, "ann"), lambda scope: throttle.take(scope, one, "ann")
    )
    assert (first, second, waited) == (None, timedelta(minutes=15), True)


def test_whom_it_counts_is_not_stored_and_old_counts_are_swept_out(office: Office) -> None:
    take(office, "ann.archer@example.com")
    assert "ann.archer" not in everything(office)
    office.later(hours=23)
    take(office, "bob")
    office.later(hours=1)
    with office.scope() as scope:
        assert throttle.sweep(scope) == 1
        assert throttle.sweep(scope) == 0
    [left] = office.rows("throttle")
    assert left["count"] == 1
