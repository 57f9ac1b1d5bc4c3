"""A watched folder: complete files are applied in order and moved away with a report; no error loses one."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hr import DECLARED, HR, csv_text, person
from shell import Shell, environment

from worker import faultpoints
from worker.app import App
from worker.database import Busy
from worker.feeds.watch import TRIES, Outcome, Watcher
from worker.process import Staff

ANN = person("001", "Ann", "Archer")
BOB = person("002", "Bob", "Brewer")
CAT = person("003", "Cat", "Cooper")
HELD_FROM_TWO = DECLARED.replace("create = {}", "create = { count = 1 }")
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Folder:
    """A watched folder with one source, and whoever puts files there."""

    def __init__(self, hr: HR, root: Path) -> None:
        self.hr, self.root, self.inbox = hr, root, root / "hr"
        self.inbox.mkdir(parents=True)
        self.watcher = Watcher(hr.feeds, root)

    def put(self, name: str | bytes, people: list[dict[str, str]] | str, age: int = 60) -> Path:
        """Put a file there, as if it had been changed so many seconds ago."""
        path = self.inbox / os.fsdecode(name)
        path.write_text(people if isinstance(people, str) else csv_text(people))
        at = 1_700_000_000 - age
        os.utime(path, (at, at))
        return path

    def look(self) -> list[Outcome]:
        """Two rounds, far enough apart, and the jobs that came of it."""
        found = self.watcher.pass_once()
        self.hr.office.later(seconds=3)
        found += self.watcher.pass_once()
        self.hr.rest()
        return found

    def names(self, place: str) -> list[str]:
        """The files at a place, without their time stamps and without reports."""
        found = [path.name for path in (self.inbox / place).glob("*") if path.is_file()]
        return sorted(name.split("_", 1)[1] for name in found if not name.endswith((".report.txt", ".report.json", ".failed.csv")))

    def everything(self) -> set[str]:
        """Every file below the folder but the lock."""
        return {str(path.relative_to(self.inbox)) for path in self.inbox.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def folder(hr: HR, tmp_path: Path) -> Folder:
    """A folder of a feed without brakes."""
    return Folder(hr, tmp_path / "watched")


def test_a_file_is_applied_and_moved_with_its_report(folder: Folder) -> None:
    folder.put("people.csv", [ANN, BOB | {"status": "Absent"}])
    [outcome] = folder.look()
    assert (outcome.source, outcome.name, outcome.state) == ("hr", "people.csv", "done")
    assert outcome.file.name == "20260302T090003Z_people.csv"
    assert outcome.file.read_text() == csv_text([ANN, BOB | {"status": "Absent"}])
    assert folder.hr.states() == {"ann.archer": "active"}
    assert outcome.run is not None
    assert (outcome.run.origin, outcome.run.requested_by, outcome.run.input) == ("file", "watch", "people.csv")
    text = outcome.file.with_name(outcome.file.name + ".report.txt").read_text()
    assert "people.csv of hr: done" in text
    assert "line 3  002  unknown_status" in text
    assert "001  Ann Archer" in text
    said = json.loads(outcome.file.with_name(outcome.file.name + ".report.json").read_text())
    assert (said["state"], said["run"]["id"], said["run"]["counts"]["joiner"]) == ("done", outcome.run.id, 1)
    assert {line["action"]: line["jobs"] for line in said["lines"]} == {"joiner": ["onboard_user"], "refused": []}
    failed = outcome.file.with_name(outcome.file.name + ".failed.csv").read_text()
    assert "unknown_status" in failed
    assert folder.everything() == {f"done/{outcome.file.name}{end}" for end in ("", ".report.txt", ".report.json", ".failed.csv")}

    folder.put("corrected.csv", failed.replace("Absent", "Active"))
    assert [one.state for one in folder.look()] == ["done"]
    assert folder.hr.states() == {"ann.archer": "active", "bob.brewer": "active"}


@ON_SQLITE
def test_the_same_file_twice_yields_no_jobs(folder: Folder) -> None:
    folder.put("one.csv", [ANN])
    folder.look()
    jobs = len(folder.hr.office.jobs())
    folder.put("one.csv", [ANN])
    [again] = folder.look()
    assert (again.state, again.told) == ("done", "Nothing was to be done: everybody is as the file says.")
    assert len(folder.hr.office.jobs()) == jobs
    assert folder.names("done") == ["one.csv", "one.csv"]


@ON_SQLITE
def test_a_file_is_complete_when_nobody_touched_it_for_a_while(folder: Folder) -> None:
    path = folder.put("slow.csv", [ANN])
    assert folder.watcher.pass_once() == []
    assert folder.watcher.waiting == 1
    folder.hr.office.later(seconds=3)
    path.write_text(csv_text([ANN, BOB]))  # still being written
    assert folder.watcher.pass_once() == []
    folder.hr.office.later(seconds=1)
    assert folder.watcher.pass_once() == []
    folder.hr.office.later(seconds=1)
    assert [one.state for one in folder.watcher.pass_once()] == ["done"]
    assert folder.watcher.waiting == 0


@ON_SQLITE
def test_uploads_in_progress_links_and_foreign_folders_are_left_alone(
    folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(csv_text([ANN]))
    (folder.inbox / "link.csv").symlink_to(outside)
    for name in (".hidden.csv", "a.csv.tmp", "a.csv.part", "a.csv.FILEPART", "a.csv~"):
        folder.put(name, [ANN])
    (folder.root / "unknown").mkdir()
    (folder.root / "unknown" / "a.csv").write_text(csv_text([ANN]))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.csv").write_text(csv_text([ANN]))
    folder.hr.feeds.feeds = {**folder.hr.feeds.feeds, "linked": folder.hr.feed()}
    (folder.root / "linked").symlink_to(elsewhere)
    before = folder.everything()
    assert folder.look() == folder.look() == []
    assert folder.everything() == before
    assert outside.exists()
    assert [path.name for path in elsewhere.iterdir()] == ["a.csv"]
    told = [record.message for record in caplog.records]
    assert told.count("feed.folder_of_no_source") == 2, "each is said once"
    assert told.count("feed.link_ignored") == 1


@ON_SQLITE
def test_odd_names_survive(folder: Folder) -> None:
    short = [b"a b 'c\" $(x).csv", "日本\n\x1b.csv".encode(), b"\xff\xfe latin.csv", b"-rf"]
    for name in (*short, b"x" * 250 + b".csv"):
        folder.put(name, [ANN])
    assert {outcome.state for outcome in folder.look()} == {"done"}
    kept = [path for path in (folder.inbox / "done").iterdir() if "report" not in path.name]
    names = {os.fsencode(path.name).split(b"_", 1)[1] for path in kept}
    assert names == {*short, b"x" * 196 + b".csv"}
    assert all(path.with_name(path.name + ".report.txt").exists() for path in kept)


@ON_SQLITE
def test_files_are_done_in_the_order_of_their_times(folder: Folder) -> None:
    folder.put("a.csv", [ANN | {"department": "New"}], age=10)
    folder.put("b.csv", [ANN | {"department": "Old"}], age=20)
    assert [one.name for one in folder.look()] == ["b.csv", "a.csv"]
    ann = folder.hr.office.user("ann.archer")
    assert ann is not None
    assert ann.attributes["department"] == "New"


@ON_SQLITE
def test_a_younger_file_does_not_overtake_one_that_is_still_being_written(folder: Folder) -> None:
    folder.put("old.csv", [ANN], age=20)
    folder.watcher.pass_once()
    folder.hr.office.later(seconds=3)
    folder.put("old.csv", [ANN, BOB], age=20)
    folder.put("young.csv", [ANN], age=10)
    assert folder.watcher.pass_once() == []
    assert [one.name for one in folder.look()] == ["old.csv", "young.csv"]


@ON_SQLITE
def test_what_cannot_be_read_is_refused_and_the_next_goes_on(folder: Folder) -> None:
    for number, content in enumerate(["", "id,first\n", "name\nX\n", "\x00" * 100], start=1):
        folder.put(f"bad{number}.csv", content, age=20)
    folder.put("good.csv", [ANN], age=10)
    bad = [f"bad{number}.csv" for number in (1, 2, 3, 4)]
    assert [(one.name, one.state) for one in folder.look()] == [*((name, "refused") for name in bad), ("good.csv", "done")]
    assert folder.names("refused") == bad
    reports = sorted((folder.inbox / "refused").glob("*.report.txt"))
    assert ["bad1.csv of hr: refused\nbad1.csv holds no records" in report.read_text() for report in reports] == [True, False, False, False]


# ------------------------------------------------------------------------------------------------------- held


@pytest.fixture
def braked(declare: object, tmp_path: Path) -> Folder:
    """A folder of a feed that lets one newcomer through."""
    return Folder(declare(HELD_FROM_TWO), tmp_path / "watched")  # type: ignore[operator]


def test_a_held_file_stops_the_later_ones_until_it_is_approved(braked: Folder) -> None:
    braked.put("many.csv", [ANN, BOB], age=20)
    braked.put("next.csv", [ANN], age=10)
    [held] = braked.look()
    assert (held.name, held.state) == ("many.csv", "held")
    assert "muster feed approve" in held.told
    assert braked.look() == []
    assert (braked.names("held"), braked.hr.states()) == (["many.csv"], {})
    assert (braked.inbox / "next.csv").exists()
    assert held.run is not None
    approved = braked.hr.feeds.approve(held.run, by="boss", reason="a new shop")
    assert braked.look() == [], "who approves may leave the applying to somebody else"
    braked.hr.feeds.apply(approved)
    outcomes = braked.look()
    assert [(one.name, one.state) for one in outcomes] == [("many.csv", "done"), ("next.csv", "done")]
    assert braked.names("held") == []
    assert braked.names("done") == ["many.csv", "next.csv"]
    assert set(braked.hr.states()) == {"ann.archer", "bob.brewer"}
    assert not list((braked.inbox / "held").glob("*report*"))


@ON_SQLITE
def test_a_held_file_that_was_applied_by_hand_is_done(braked: Folder) -> None:
    braked.put("many.csv", [ANN, BOB])
    [held] = braked.look()
    assert held.run is not None
    braked.hr.feeds.apply(braked.hr.feeds.approve(held.run, by="boss", reason="right"))
    assert [(one.name, one.state) for one in braked.look()] == [("many.csv", "done")]


@ON_SQLITE
def test_a_held_file_that_was_dropped_is_refused(braked: Folder) -> None:
    braked.put("many.csv", [ANN, BOB])
    [held] = braked.look()
    assert held.run is not None
    braked.hr.feeds.drop(held.run, by="boss", reason="an old file")
    [outcome] = braked.look()
    assert (outcome.state, outcome.told) == ("refused", "The plan was put aside by boss: an old file. Nobody was changed by it.")
    assert (braked.names("held"), braked.names("refused"), braked.hr.states()) == ([], ["many.csv"], {})


@ON_SQLITE
def test_a_held_file_whose_plan_was_overtaken_is_planned_anew(braked: Folder) -> None:
    braked.put("many.csv", [ANN, BOB])
    [held] = braked.look()
    braked.hr.apply([CAT])  # by another way
    [again] = braked.look()
    assert (again.name, again.state) == ("many.csv", "held")
    assert held.run is not None
    assert again.run is not None
    assert again.run.hash != held.run.hash
    assert braked.names("held") == ["many.csv"]
    assert len(list((braked.inbox / "held").iterdir())) == 3


@ON_SQLITE
def test_an_approval_that_ended_applies_nothing(braked: Folder) -> None:
    braked.put("many.csv", [ANN, BOB])
    [held] = braked.look()
    assert held.run is not None
    braked.hr.feeds.approve(held.run, by="boss", reason="right")
    braked.hr.office.later(hours=25)
    assert braked.look() == []
    assert (braked.names("held"), braked.hr.states()) == (["many.csv"], {})


# ---------------------------------------------------------------------------------------------------- crashes


@ON_SQLITE
def test_a_file_whose_worker_died_is_taken_up_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    points = ("feed_file_taken", "feed_file_planned", "feed_decided", "feed_carried", "feed_file_applied", "feed_file_reported")
    people = []
    for number, point in enumerate(points, start=1):
        people.append(person(f"{number:03}", "New", f"Comer{number}"))
        folder.put(f"{point}.csv", people)
        folder.watcher.pass_once()
        folder.hr.office.later(seconds=3)
        with monkeypatch.context() as patched:
            patched.setattr(faultpoints, "_seen", 0)
            patched.setattr(faultpoints, "_plan", f"{point}:1:raise")
            assert folder.watcher.pass_once() == []
            assert folder.watcher.troubles == 1
        assert f"{point}.csv" in {path.name for path in (folder.inbox / "working").iterdir()}
        [outcome] = Watcher(folder.hr.feeds, folder.root).pass_once()
        folder.hr.rest()
        assert (outcome.name, outcome.state) == (f"{point}.csv", "done")
        assert len(folder.hr.states()) == number
        assert len([row for row in folder.hr.office.jobs("onboard_user") if row["source"] == "feed/hr"]) == number
        assert [path.name for path in (folder.inbox / "working").iterdir()] == [".lock"]


@ON_SQLITE
def test_a_file_that_stops_everybody_is_given_up(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("poison.csv", [ANN], age=20)
    folder.put("good.csv", [BOB], age=10)
    real = folder.hr.feeds.plan_file

    def poisoned(source: str, path: Path, **more: object) -> object:
        if path.name == "poison.csv":
            raise RuntimeError("a fault")
        return real(source, path, by="watch")

    monkeypatch.setattr(folder.hr.feeds, "plan_file", poisoned)
    folder.watcher.pass_once()
    folder.hr.office.later(seconds=3)
    for _ in range(TRIES):
        assert folder.watcher.pass_once() == []
    assert [(one.name, one.state) for one in folder.watcher.pass_once()] == [("poison.csv", "refused"), ("good.csv", "done")]
    [report] = (folder.inbox / "refused").glob("*.report.txt")
    assert "muster feed plan hr FILE" in report.read_text()


@ON_SQLITE
def test_a_busy_database_costs_no_try(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("people.csv", [ANN])
    folder.watcher.pass_once()
    folder.hr.office.later(seconds=3)

    def busy(*_: object, **__: object) -> object:
        raise Busy("another writer has held the database")

    with monkeypatch.context() as patched:
        patched.setattr(folder.hr.feeds, "plan_file", busy)
        for _ in range(TRIES + 3):
            with pytest.raises(Busy):
                folder.watcher.pass_once()
    assert [one.state for one in folder.watcher.pass_once()] == ["done"]


@ON_SQLITE
def test_a_plan_that_was_overtaken_is_made_anew(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("people.csv", [ANN])
    real = folder.hr.feeds.plan_file
    overtaken: list[str] = []

    def overtake(source: str, path: Path, **more: object) -> object:
        run = real(source, path, by="watch")
        if not overtaken:
            overtaken.append(run.id)
            other = folder.hr.write([BOB], "other.csv")
            folder.hr.feeds.apply(real(source, other, by="tester"))
        return run

    monkeypatch.setattr(folder.hr.feeds, "plan_file", overtake)
    [outcome] = folder.look()
    assert outcome.state == "done"
    assert outcome.run is not None
    assert outcome.run.id not in overtaken
    assert set(folder.hr.states()) == {"ann.archer", "bob.brewer"}


@ON_SQLITE
def test_two_workers_never_take_the_same_file(folder: Folder) -> None:
    folder.put("people.csv", [ANN])
    assert folder.watcher.pass_once() == []
    folder.hr.office.later(seconds=3)
    with (folder.inbox / "working" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert folder.watcher.pass_once() == []
        assert (folder.inbox / "people.csv").exists()
    assert [one.state for one in folder.watcher.pass_once()] == ["done"]


@ON_SQLITE
def test_a_file_in_the_hands_of_another_machine_is_left_to_it(folder: Folder) -> None:
    folder.look()
    working = folder.inbox / "working"
    (working / "theirs.csv").write_text(csv_text([ANN]))
    (working / ".theirs.csv.taken").write_text(json.dumps({"name": "theirs.csv", "host": "elsewhere", "tries": 1, "run": None}))
    folder.hr.office.now = folder.hr.office.now.replace(year=2020)
    assert folder.look() == []
    folder.hr.office.now = folder.hr.office.now.replace(year=2099)
    assert [(one.name, one.state) for one in folder.look()] == [("theirs.csv", "done")]


@ON_SQLITE
def test_workers_with_the_setting_watch_the_folder(folder: Folder) -> None:
    folder.put("people.csv", [ANN])
    app = App(folder.hr.settings.model_copy(update={"feed_folder": folder.root}))
    deadline = time.monotonic() + 60
    with Staff(app):
        while not folder.hr.states() and time.monotonic() < deadline:
            time.sleep(0.1)
    app.close()
    assert folder.hr.states() == {"ann.archer": "active"}


# ----------------------------------------------------------------------------------------------- command line


@pytest.fixture
def shell(sqlite_url: str, tmp_path: Path) -> Iterator[Shell]:
    """The command line with a feed, and a folder for it."""
    (tmp_path / "muster.toml").write_text(HELD_FROM_TWO)
    (tmp_path / "watched" / "hr").mkdir(parents=True)
    opened = Shell(sqlite_url, config=str(tmp_path / "muster.toml"))
    for group in ("staff", "sales"):
        opened.office.do("create_group", {"group": group})
    yield opened
    opened.close()


def test_the_command_takes_what_is_there_and_ends(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.feeds.watch.QUIET", timedelta(milliseconds=20))
    inbox = tmp_path / "watched" / "hr"
    (inbox / "one.csv").write_text(csv_text([ANN]))
    result = shell.muster("feed", "watch", str(tmp_path / "watched"), "--once")
    assert (result.exit_code, result.stdout.split(".")[0:2]) == (0, ["hr/one", "csv: done"])
    (inbox / "two.csv").write_text(csv_text([ANN, BOB, CAT]))
    [held] = shell.objects("feed", "watch", str(tmp_path / "watched"), "--once", code=1)
    assert (held["file"], held["state"], held["counts"]["joiner"]) == ("two.csv", "held", 2)
    approved = shell.muster("feed", "approve", held["plan"][:12], "--reason", "a new shop", "--yes")
    assert approved.exit_code == 0, approved.stderr
    [done] = shell.objects("feed", "watch", str(tmp_path / "watched"), "--once")
    assert (done["file"], done["state"]) == ("two.csv", "done")
    assert shell.objects("feed", "watch", str(tmp_path / "watched"), "--once") == []


def test_the_command_says_where_files_belong(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "watched" / "hr").rmdir()
    result = shell.muster("feed", "watch", str(tmp_path / "watched"), "--once")
    assert "Make one and name it after the feed; declared: hr." in result.stderr


def test_the_command_stays_until_it_is_told_to_end(shell: Shell, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "feed", "watch", str(tmp_path / "watched")]
    env = environment(tmp_path, **{name.removeprefix("MUSTER_"): value for name, value in shell.env.items() if name.startswith("MUSTER_")})
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "Watching" in process.stdout.readline()
            process.send_signal(number)
            assert process.wait(30) == 0
