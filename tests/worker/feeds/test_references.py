"""References come last: a manager or a group that is not there yet holds nobody up, and is set when it comes."""

from hr import HR, person

from worker.feeds import cases
from worker.feeds.runs import Run

ANN = person("001", "Ann", "Archer")
BOB = person("002", "Bob", "Brewer")
CAT = person("003", "Cat", "Cooper")


def manager(hr: HR, username: str) -> str | None:
    names = {row["id"]: row["username"] for row in hr.office.rows("users")}
    [found] = [row["manager"] for row in hr.office.rows("users", username=username)]
    return names.get(found)


def about(hr: HR, run: Run, external_id: str) -> tuple[str, str | None, str | None]:
    [line] = [line for line in hr.lines(run) if line["external_id"] == external_id]
    return line["action"], line["code"], line["text"]


WAITS = "manager 009 is not there yet: set as soon as there is an account"


def test_an_unknown_manager_is_told_and_set_when_the_next_file_brings_them(hr: HR) -> None:
    below = ANN | {"boss": "009"}
    run = hr.apply([below, BOB])
    assert about(hr, run, "001") == ("joiner", "unknown_manager", WAITS)
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert manager(hr, "ann.archer") is None
    assert hr.plan([below, BOB]).counts == {"unchanged": 2}, "once is enough"
    run = hr.apply([below, BOB, person("009", "Ivy", "Ingram")])
    assert {line["external_id"]: line["action"] for line in hr.lines(run)} == {"009": "joiner"}
    hr.turn(seconds=2)
    assert manager(hr, "ann.archer") == "ivy.ingram"
    assert hr.office.rows("feed_person", external_id="001")[0]["waiting_for"] is None
    assert hr.plan([below, BOB, person("009", "Ivy", "Ingram")]).counts == {"unchanged": 3}


def test_a_manager_who_comes_by_another_door_is_set_by_the_scan(hr: HR) -> None:
    hr.apply([ANN | {"boss": "009"}, BOB])
    hr.turn(minutes=5)
    assert manager(hr, "ann.archer") is None
    hr.office.do("create_user", {"username": "ivy", "external_id": "009"}, source="console")
    hr.turn(minutes=5)
    assert manager(hr, "ann.archer") == "ivy"
    jobs = len(hr.office.jobs())
    hr.turn(minutes=5)
    assert len(hr.office.jobs()) == jobs


def test_a_manager_later_in_the_same_file_is_there(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    run = hr.apply([ANN | {"boss": "003"}, BOB | {"boss": "001"}, CAT])
    assert [line["external_id"] for line in hr.lines(run)] == ["003", "001", "002"]
    assert (manager(hr, "ann.archer"), manager(hr, "bob.brewer")) == ("cat.cooper", "ann.archer")


def test_a_manager_who_was_refused_is_waited_for(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply([ANN | {"boss": "003"}, CAT | {"status": "Aktiv"}])
    assert hr.states() == {"ann.archer": "active"}
    hr.apply([ANN | {"boss": "003"}, CAT])
    hr.turn(days=1)
    assert manager(hr, "ann.archer") == "cat.cooper"


def test_their_own_manager_is_left_out(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    run = hr.apply([ANN | {"boss": "001"}])
    [warned, joined] = hr.lines(run)
    assert (warned["action"], warned["code"]) == ("warning", "manager_loop")
    assert (joined["action"], joined["text"]) == ("joiner", "named as their own manager; left out")
    assert (hr.states(), manager(hr, "ann.archer")) == ({"ann.archer": "active"}, None)
    assert hr.plan([ANN | {"boss": "001"}]).counts == {"unchanged": 1}


def test_a_circle_of_managers_is_reported_and_everybody_is_taken_in(hr: HR) -> None:
    circle = [ANN | {"boss": "002"}, BOB | {"boss": "003"}, CAT | {"boss": "001"}, person("004", "Dan", "Drew", boss="001")]
    run = hr.apply(circle)
    warned = hr.lines(run, "warning")
    assert {line["code"] for line in warned} == {"manager_loop"}
    assert {line["external_id"] for line in warned} <= {"001", "002", "003"}
    assert warned
    assert set(hr.states().values()) == {"active"}
    hr.turn(minutes=5)
    found = {name: manager(hr, name) for name in hr.states()}
    assert found == {
        "ann.archer": "bob.brewer", "bob.brewer": "cat.cooper", "cat.cooper": "ann.archer", "dan.drew": "ann.archer",
    }  # fmt: skip
    assert {row["state"] for row in hr.office.jobs() if row["kind"] in ("onboard_user", "update_user")} == {"succeeded"}
    assert hr.plan(circle).counts == {"unchanged": 4}


def test_a_manager_who_left_is_no_longer_waited_upon(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply([ANN | {"boss": "002"}, BOB])
    run = hr.apply([ANN | {"boss": "002"}, BOB | {"status": "Gone"}])
    assert [line["external_id"] for line in hr.lines(run)] == ["002"]
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "closed"}


def test_a_manager_who_joins_in_weeks_is_set_then(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply([ANN | {"boss": "002"}, BOB | {"start": "2026-03-30"}])
    assert hr.states() == {"ann.archer": "active"}
    hr.turn(days=21)
    hr.turn(days=1)
    assert manager(hr, "ann.archer") == "bob.brewer"


def test_a_manager_whose_first_day_is_months_away_is_told_and_not_forgotten(hr_sqlite: HR) -> None:
    run = hr_sqlite.apply([ANN | {"boss": "002"}, BOB | {"start": "2026-06-30"}])
    for days in (*[1] * 45, 60, 15, 1):
        hr_sqlite.turn(days=days)
    assert hr_sqlite.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert manager(hr_sqlite, "ann.archer") == "bob.brewer"
    assert about(hr_sqlite, run, "001")[1] == "unknown_manager"


def test_a_manager_who_has_an_account_of_another_id_is_that_account_also_in_the_same_file(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.office.do("create_user", {"username": "bb", "external_id": "X-9"}, source="console")
    hr.office.do("create_user", {"username": "stranger", "external_id": "002", "is_active": False}, source="console")
    hr.apply([BOB])
    with hr.office.scope() as scope:
        [case] = cases.list_cases(scope.conn)
        cases.decide(scope, case.id, "link", "bb", by="olga", reason="asked HR")
    hr.apply([ANN | {"boss": "002"}, BOB])
    hr.turn(days=1)
    assert manager(hr, "ann.archer") == "bb"


def test_a_group_that_is_not_there_yet_holds_nobody_up_and_is_given_when_it_is_made(hr: HR) -> None:
    assert hr.office.do("delete_group", {"group": "sales"}).state == "succeeded"
    team = [ANN, BOB | {"department": "Engineering"}]
    hr.apply(team)
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert hr.groups("ann.archer") == {"staff"}
    hr.office.do("create_group", {"group": "sales"})
    hr.turn(hours=1)
    assert hr.groups("ann.archer") == {"staff", "sales"}
    assert hr.plan(team).counts == {"unchanged": 2}


def test_whoever_moves_into_a_group_that_is_not_there_yet_gets_it_when_it_is_made(hr: HR) -> None:
    hr.apply([ANN | {"department": "Engineering"}])
    assert hr.office.do("delete_group", {"group": "sales"}).state == "succeeded"
    hr.apply([ANN])
    assert hr.groups("ann.archer") == {"staff"}
    hr.office.do("create_group", {"group": "sales"})
    for _ in range(3):
        hr.turn(hours=1)
    assert hr.groups("ann.archer") == {"staff", "sales"}
