"""A job done at once for a caller who waits: as exactly once, as patient and as orderly as through any other door."""

import threading

from office import Office
from sqlalchemy import update

from worker.context import Context
from worker.intake import Request
from worker.jobs import DIRECTORY, Kind, Payload, Policy
from worker.tables import job

CREATE = Request("create_user", {"username": "ann"}, "door", "k1", requested_by="door")


def test_the_effect_is_there_when_the_answer_is(office: Office) -> None:
    answer = office.app.submit_and_run(CREATE)
    assert answer.state == "succeeded"
    assert answer.result is not None
    assert office.user("ann") is not None
    again = office.app.submit_and_run(CREATE)
    assert (again.id, again.duplicate, again.result) == (answer.id, True, answer.result)


def test_of_two_callers_at_once_one_gives_the_name(office: Office) -> None:
    answers = []
    start = threading.Barrier(2)

    def call(key: str) -> None:
        start.wait()
        answers.append(office.app.submit_and_run(Request("create_user", {"username": "bob"}, "door", key)))

    threads = [threading.Thread(target=call, args=(key,)) for key in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.state for answer in answers) == ["rejected", "succeeded"]


def test_behind_another_job_of_the_person_it_waits_and_is_left_to_the_workers(office: Office) -> None:
    office.do("create_user", {"username": "cleo"})
    first = office.submit("update_user", {"user": "cleo", "name": "Cleo C."})
    with office.scope() as scope:  # in the hands of nobody, and not due for a while
        scope.conn.execute(update(job).where(job.c.id == first).values(run_at=office.now.replace(hour=23)))
    answer = office.app.submit_and_run(Request("update_user", {"user": "cleo", "name": "Cleo D."}, "door"), seconds=0.3)
    assert answer.state == "waiting"
    office.later(days=1)
    office.drain()
    assert office.ended(str(answer.id)).state == "succeeded"
    user = office.user("cleo")
    assert user is not None
    assert user.name == "Cleo D."


def test_a_try_that_failed_waits_for_its_time(database_url: str) -> None:
    tries = []

    class Stumbling(Payload):
        """Nothing."""

    def stumble_once(ctx: Context, ask: Stumbling) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("not today")

    office = Office(database_url, kinds=[
        Kind("stumble_once", "Stumble", "single", Stumbling, Policy(queue=DIRECTORY), stumble_once)
    ])
    try:
        answer = office.app.submit_and_run(Request("stumble_once", {}, "door"), seconds=0.3)
        assert (answer.state, len(tries)) == ("queued", 1)
        office.later(hours=1)
        office.drain()
        assert office.ended(str(answer.id)).state == "succeeded"
    finally:
        office.close()
