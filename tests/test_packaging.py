"""What is installed and shipped is what was tested: locks with hashes, README commands, wheel, image and compose file."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

locks = pytest.mark.parametrize("lock", ["requirements.txt", "requirements-test.txt"])


def locked(lock: str) -> dict[str, str]:
    """Give each locked requirement's canonical name with its whole entry, hashes included."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {canonicalize_name(Requirement(entry.split("--hash")[0]).name): entry for entry in entries}


def readme_commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Give the Dockerfile as (INSTRUCTION, arguments)."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest) for word, rest in lines]


@locks
def test_a_lock_names_no_host_and_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


@locks
def test_every_locked_package_is_one_version_with_a_hash(lock: str) -> None:
    for name, entry in locked(lock).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{name} has no hash in {lock}"
        assert "==" in entry, f"{name} is not pinned in {lock}"


@locks
def test_a_lock_holds_what_pyproject_asks_for(lock: str) -> None:
    asked = PROJECT["dependencies"] + (PROJECT["optional-dependencies"]["test"] if "test" in lock else [])
    versions = {name: re.search(r"==([^\s;]+)", entry) for name, entry in locked(lock).items()}
    for requirement in map(Requirement, asked):
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in {lock}: refresh it as CONTRIBUTING.md says"
        assert version[1] in requirement.specifier, f"{lock} has {requirement.name} {version[1]}, pyproject asks otherwise"


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    shipped, tested = locked("requirements.txt"), locked("requirements-test.txt")
    assert {name: tested.get(name) for name in shipped} == shipped


def test_no_lock_of_another_kind_is_kept() -> None:
    assert not [name for name in ("uv.lock", "pylock.toml", "poetry.lock") if (ROOT / name).exists()]


def test_the_readme_gives_two_commands_of_one_line() -> None:
    demo, tests = readme_commands()[:2]
    for command, lock in ((demo, "requirements.txt"), (tests, "requirements-test.txt")):
        assert command.count("\n") == 1, "a command is one line to copy"
        assert f"--require-hashes -r {lock} " in command
        assert " --no-deps " in command, "what is installed is what the lock says, and Muster itself"
    assert demo.rstrip().endswith(".venv/bin/muster demo")
    assert ".venv/bin/pytest" in tests


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    quoted = re.search(r"test_command=\$\((awk .*? README\.md)\)", script)
    assert quoted, ".ci/run no longer takes its command from README.md"
    said = subprocess.run(["bash", "-c", quoted[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == readme_commands()[1]
    assert 'MUSTER_REQUIRE=postgresql,redis,browser bash -euo pipefail -c "$test_command"' in script
    assert "pytest" not in script, "a second way to run the tests would drift from the first"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run is not executable"


def test_the_wheel_carries_jobs_worker_and_templates(tmp_path: Path) -> None:
    # In a process of its own: the builder reads the tree from its working directory.
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"muster_worker-{PROJECT['version']}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ("worker", "actors")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"worker/{path.relative_to(ROOT)}" for path in (ROOT / "templates").rglob("*") if path.is_file()}
    assert carried == wanted


def test_the_image_installs_by_hash_and_runs_as_nobody_special() -> None:
    steps = instructions()
    assert any(word == "RUN" and "--require-hashes -r requirements.txt" in rest for word, rest in steps)
    last_stage = steps[max(index for index, (word, _) in enumerate(steps) if word == "FROM") :]
    (user,) = [rest for word, rest in last_stage if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number above 0, so that a platform can check it"
    assert [json.loads(rest) for word, rest in last_stage if word == "ENTRYPOINT"] == [["muster"]]
    assert not [rest for word, rest in steps if word in {"ARG", "ENV"} and re.search("SECRET|PASSWORD|TOKEN", rest)]


def test_the_image_copies_only_what_is_let_in() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_every_secret_comes_from_the_environment_and_has_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("MUSTER_SECRET_KEY", "POSTGRES_PASSWORD", "MUSTER_SMTP_URL"):
        used = re.findall(rf"\$\{{{name}[^}}]*\}}", text)
        assert used, f"{name} is not taken from the environment"
        assert all(re.match(rf"\$\{{{name}:\?.+\}}", use) for use in used), f"{name}: without it, compose has to stop and say so"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_lasting_service_is_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_workers_can_be_many_and_may_finish_what_is_in_hand() -> None:
    worker = SERVICES["worker"]
    assert not {"container_name", "ports", "hostname"} & worker.keys(), "two workers could not both have it"
    assert worker["stop_grace_period"] == "15s"
    assert worker["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert SERVICES["migrate"]["command"] == ["db", "upgrade"]


@pytest.mark.parametrize("name", ["worker", "migrate"])
def test_ours_run_without_rights_they_do_not_need(name: str) -> None:
    service = SERVICES[name]
    assert not service["user"].startswith("0")
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_data_outlives_its_container() -> None:
    for name in ("postgres", "redis"):
        (volume,) = SERVICES[name]["volumes"]
        assert volume.split(":")[0] in COMPOSE["volumes"]


def test_redis_loses_nothing_it_acknowledged() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"


def test_the_mail_catcher_is_for_trying_out_and_stays_on_this_machine() -> None:
    assert SERVICES["mail"]["profiles"] == ["try"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["mail"]["ports"])
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["api", "mail"], "nothing else is published"
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["api"]["ports"]), "a proxy with TLS stands before it"
