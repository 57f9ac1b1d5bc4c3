"""The tour tells the truth: its job goes the way that it says, and its own job can be added as it says."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from manual import ROOT, example
from office import SECRET, Office

PAGE = "tour.md"

RUN = """
import sys
from office import Office
from worker.settings import Settings
names = {}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
tests = [value for name, value in names.items() if name.startswith("test_")]
for number, test in enumerate(tests):
    office = Office(f"sqlite:///{sys.argv[2]}-{number}", actors=("actors", "our_jobs"))
    test(office)
    office.close()
print(len(tests))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the tour's package, as a reader would make it."""
    package = tmp_path / "our_jobs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "record_training.py").write_text(example("job", PAGE))
    return tmp_path


def python(home: Path, *arguments: str) -> str:
    """Run Python in the reader's folder; fails when it fails."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    environ |= {
        "PYTHONPATH": os.pathsep.join([str(home), str(ROOT), str(ROOT / "tests")]), "COLUMNS": "120",
        "MUSTER_ACTORS": "actors,our_jobs", "MUSTER_SECRET_KEY": SECRET,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *arguments], cwd=home, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_job_of_your_own_is_added_by_one_file(home: Path) -> None:
    first, *lines = example("use", PAGE).splitlines()
    assert first == "export MUSTER_ACTORS=actors,our_jobs"
    shown = [python(home, "-m", "worker", *shlex.split(line)[1:]) for line in lines]
    assert "Record that a user passed a training" in shown[0]
    assert "succeeded" in shown[3]
    assert "add_to_group" in shown[4].partition("Jobs to come")[2]
    assert "training.recorded" in shown[4]


def test_its_test_passes(home: Path, sqlite_template: Path) -> None:
    (home / "test_record_training.py").write_text(example("test", PAGE))
    for number in range(2):
        (home / f"db-{number}").write_bytes(sqlite_template.read_bytes())
    assert python(home, "-c", RUN, "test_record_training.py", str(home / "db")) == "2\n"


def actions(office: Office, username: str) -> Sequence[str]:
    return [str(event["action"]) for event in office.events(username)]


def test_the_way_of_one_job(office: Office) -> None:
    office.world()
    update = office.submit("update_user", {"user": "ann", "name": "Ann Again"})
    earlier = office.submit("add_to_group", {"user": "ann", "group": "administrators"})
    later = office.submit("update_user", {"user": "ann", "name": "Ann Gone"})
    assert [office.ended(job).state for job in (update, earlier, later)] == ["queued", "waiting", "waiting"]
    leave = office.accept("offboard_user", {"user": "ann"}, key="leave-1001")
    assert leave.state == "queued"  # it does not wait behind the others
    office.runner.run("offboard_user", urgent=False)
    assert leave.id is not None
    assert office.ended(leave.id).state == "succeeded"
    assert office.ended(leave.id).result["groups"] == ["staff"]
    assert (office.ended(earlier).state, office.ended(earlier).reason) == ("cancelled", "superseded")
    ann = office.user("ann")
    assert ann is not None
    assert not ann.is_active
    assert {"user.deactivated", "user.offboarded", "user.deletion_scheduled"} <= set(actions(office, "ann"))
    followed = {row["kind"]: row for row in office.jobs() if row["parent"] == leave.id}
    assert {kind: row["state"] for kind, row in followed.items()} == {
        "send_manager_notice": "queued", "delete_user": "scheduled",
    }  # fmt: skip
    assert followed["delete_user"]["key"].startswith(f"{leave.id}/")
    assert (followed["delete_user"]["run_at"] - office.now).days == 90
    assert ("send_manager_notice", "mail") in office.bell.rung
    office.drain()
    assert [office.ended(job).state for job in (update, later)] == ["succeeded", "succeeded"]
    office.later(days=91)
    office.drain()
    assert office.user("ann") is None
