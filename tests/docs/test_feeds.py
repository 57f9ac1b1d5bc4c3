"""What docs/feeds.md shows is typed here, chapter by chapter, and compared with what Muster answers."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from manual import DOCS, example, page
from senders import PROFILES
from shell import Shell

from worker import front
from worker.app import App
from worker.cli import cli
from worker.feeds.config import load_feeds
from worker.feeds.declaration import Webhook
from worker.feeds.desk import Feeds
from worker.feeds.feeder import Feeder
from worker.settings import load

PAGE = "feeds.md"
# Where the page says that `muster up` answers.
SERVER = "http://localhost:8000"
# With this variable set the answers on the page are written anew; read the difference before you commit it.
WRITE = "MUSTER_WRITE_PAGES"
# The chapter whose files all later ones begin with.
BASE = "1. Feeds are declared"
BLOCK = re.compile(r"<!-- (example|more|typed before): (.+?) -->\n(?:\n?```(\w*)\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
# A line of a console that turns the clock: `# 2026-03-02 09:00`, with or without words after it.
MOMENT = re.compile(r"# (\d{4}-\d\d-\d\d \d\d:\d\d)\b")
# Ids and hashes are others each time: each one of the page stands for the one that is printed at its place.
NAMES = re.compile(r"\b(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){2,3}(?:-[0-9a-f]{12})?|[0-9a-f]{64}|[0-9a-f]{12})\b")
CHAPTERS: list[str] = re.findall(r"^## (.+)$", page(PAGE), re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of the page. `what`: example, more or `typed before`; `start` and `end`: where its text stands."""

    what: str
    name: str
    language: str
    text: str
    start: int
    end: int


def chapter(title: str) -> list[Block]:
    """The blocks of one chapter, in order."""
    whole = page(PAGE)
    begin = whole.index(f"## {title}\n")
    end = whole.find("\n## ", begin)
    found = BLOCK.finditer(whole, begin, len(whole) if end < 0 else end)
    return [Block(one[1], one[2], one[3] or "", one[4] or "", one.start(4), one.end(4)) for one in found]


class Scene:
    """A folder with a database of its own, workers that do what is due after each command, and a clock that is set."""

    def __init__(self, folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.shell = Shell(database_url)
        self.shell.env["LOGNAME"] = "olivia"
        self.office = self.shell.office
        self.office.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self.office.keeper.enlist()
        self.names: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.doors = ExitStack()
        self._url: str | None = None

    def put(self, block: Block) -> None:
        """Write the file that a block shows, or add to it."""
        target = self.folder / block.name
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.read_text() if block.what == "more" else ""
        target.write_text(f"{before}\n{block.text}" if before else block.text)

    def typed(self, line: str) -> str:
        """Type a line; returns what is printed, on both channels, but for what goes into a variable."""
        line = self.named(line)
        if kept := re.fullmatch(r"(\w+)=\$\(muster (.+)\)", line):
            answer = CliRunner().invoke(cli, shlex.split(kept[2]), env=self.shell.env, catch_exceptions=False)
            self.variables[kept[1]] = answer.stdout.strip()
            printed = answer.stderr
        elif exported := re.fullmatch(r"export (\w+)=(\S+)", line):
            self.monkeypatch.setenv(exported[1], exported[2])
            printed = ""
        elif muster := re.match(r"(?:(MUSTER_\w+)=(\S+) )?muster (.+)", line):
            env = self.shell.env | ({muster[1]: muster[2]} if muster[1] else {})
            answer = CliRunner().invoke(cli, shlex.split(muster[3]), env=env)
            if answer.exception is not None and not isinstance(answer.exception, SystemExit):
                raise answer.exception
            printed = answer.stdout + answer.stderr
        else:
            env = os.environ | self.variables
            line = line.replace(SERVER, self.url) if SERVER in line else line
            done = subprocess.run(
                line, shell=True, cwd=self.folder, env=env, capture_output=True, text=True, timeout=30, check=False
            )
            printed = done.stdout + done.stderr
        self.work()
        return "".join(f"{one.rstrip()}\n" for one in printed.splitlines())

    @property
    def url(self) -> str:
        """Where HTTP is answered; the doors are opened when somebody first comes."""
        app = self.office.app
        app.settings = app.database.settings = load(self.shell.env)
        if self._url is None:
            self._url = self.doors.enter_context(front.serving(app, front.listen("127.0.0.1:0")))
        return self._url

    def named(self, line: str) -> str:
        """A line with the ids and hashes of this time for those of the page."""
        return NAMES.sub(lambda found: self.names.get(found[0], found[0]), line)

    def work(self) -> None:
        """What workers do by themselves: jobs, messages, due dates."""
        app, settings = self.office.app, load(self.shell.env)
        app.settings = app.database.settings = settings
        feeder = Feeder(Feeds(app.database, app.registry, settings, app.clock, app.ring, load_feeds(settings)))
        self.office.keeper.heartbeat()
        for _ in range(2):
            feeder.feeds.catch_up()
            feeder.take_deliveries()
            feeder.take_messages()
            feeder.scan()
            self.office.drain()
        feeder.feeds.catch_up()

    def play(self, block: Block) -> str:
        """Type what a block shows, and return it with what was answered."""
        told = ""
        for line, answer in _lines(block.text):
            told += (self.named(line) if WRITE in os.environ else line) + "\n"
            moment = MOMENT.match(line)
            if moment:
                self.office.now = datetime.strptime(moment[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
                self.work()
            elif line.startswith("$ "):
                printed = self.typed(line[2:])
                self.names |= dict(zip(NAMES.findall(answer), NAMES.findall(printed), strict=False))
                told += printed
        return told


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a console that were typed, each with what was answered."""
    for part in re.split(r"^(?=[$#] )", text, flags=re.MULTILINE):
        line, _, answer = part.partition("\n")
        while line.endswith("\\"):
            more, _, answer = answer.partition("\n")
            line += f"\n{more}"
        if part.strip():
            yield line, answer


def alike(text: str) -> str:
    """A text without what is another each time."""
    return NAMES.sub("ID", text)


@pytest.fixture
def scene(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    folder = tmp_path / "office"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("worker.feeds.watch.QUIET", timedelta(0))
    opened = Scene(folder, sqlite_url, monkeypatch)
    monkeypatch.setattr("worker.app.App", partial(App, clock=lambda: opened.office.now))
    yield opened
    opened.doors.close()
    opened.shell.close()


def test_every_number_has_a_chapter_with_an_example() -> None:
    numbered = [title for title in CHAPTERS if title[0].isdecimal()]
    assert [title.partition(".")[0] for title in numbered] == [str(number) for number in range(1, 15)]
    assert all(any(block.language == "console" for block in chapter(title)) for title in numbered)


@pytest.mark.parametrize("title", [one for one in CHAPTERS if chapter(one)])
def test_a_chapter_is_as_it_says(scene: Scene, title: str) -> None:
    if shutil.which("curl") is None and any("$ curl " in block.text for block in chapter(title)):
        pytest.skip("there is no curl")
    if CHAPTERS.index(title) > CHAPTERS.index(BASE):
        for block in chapter(BASE):
            if block.language not in ("console", "") and block.what == "example":
                scene.put(block)
    played: list[tuple[Block, str]] = []
    for block in chapter(title):
        if block.what == "typed before":
            scene.typed(block.name)
        elif block.language == "console":
            played.append((block, scene.play(block)))
        else:
            scene.put(block)
    if WRITE in os.environ:
        write(played)
        return
    for block, told in played:
        assert alike(told) == alike(block.text), block.name


def test_the_profiles_of_senders_are_those_that_are_tried(tmp_path: Path) -> None:
    """tests/worker/feeds/test_signatures.py signs as these senders do."""
    file = tmp_path / "muster.toml"
    file.write_text(example("profiles.toml", PAGE))
    for name, feed in load_feeds(load({}, file)).items():
        assert feed.webhook is not None
        proof = feed.webhook.model_dump(exclude={"secrets", "items", "person", "type", "types", "occurred_at"})
        tried = Webhook.model_validate(PROFILES[name]).model_dump()
        assert proof == {key: tried[key] for key in proof}, name


def write(played: list[tuple[Block, str]]) -> None:
    """Put into the page what was answered, where that is another answer."""
    whole = page(PAGE)
    for block, told in reversed([one for one in played if alike(one[1]) != alike(one[0].text)]):
        whole = whole[: block.start] + told + whole[block.end :]
    (DOCS / PAGE).write_text(whole, encoding="utf-8")
