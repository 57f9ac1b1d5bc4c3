"""The watched folder: files put there are planned, applied and moved away, each with a report beside it."""

import fcntl
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from worker import faultpoints, identity
from worker.database import Busy, Unreachable
from worker.feeds import reports, runs
from worker.feeds.apply import SUPERSEDED, NotApplied, shown
from worker.feeds.desk import Feeds
from worker.feeds.reports import Report
from worker.feeds.runs import APPLIED, APPLYING, APPROVED, DROPPED, HELD, PLANNED, Run

log = logging.getLogger(__name__)

# A file that nobody touched for so long is complete. Whoever is slower uploads under another name, and renames.
QUIET = timedelta(seconds=2)
# A plan that another one overtook is made anew so often in one round; then the file waits for the next.
PLANS = 3
# A file over which Muster stopped so often would stop it for ever.
TRIES = 5
# A file in the hands of another machine is left to it this long; of this machine the lock tells at once.
FOREIGN = timedelta(minutes=10)
# Of the 255 bytes of a name, as much as leaves room for a time stamp and the ending of a report.
LONGEST = 200
# Uploads in progress, by the names that programs give them.
IN_PROGRESS = (".tmp", ".part", ".filepart", "~")

WORKING, DONE, WAITING, REFUSED = "working", "done", "held", "refused"
_STAMP = re.compile(r"^\d{8}T\d{6}Z(-\d+)?_")


@dataclass(frozen=True)
class Outcome:
    """What became of a file. `state`: done, held or refused; `file`: where it lies now; `told`: a sentence about it."""

    source: str
    name: str
    state: str
    file: Path
    told: str
    run: Run | None

    def as_json(self) -> dict[str, Any]:
        """The object that `muster feed watch --json` prints."""
        return {
            "source": self.source, "file": self.name, "state": self.state, "moved_to": str(self.file), "told": self.told,
            "run": self.run.id if self.run else None, "plan": self.run.hash if self.run else None,
            "counts": dict(self.run.counts) if self.run else {},
        }  # fmt: skip


@dataclass
class _Taken:
    """A file in working/, and what is noted beside it: its own name, by which machine it was taken, how often, its run."""

    path: Path
    name: str
    host: str
    tries: int = 0
    run: str | None = None

    @property
    def notes(self) -> Path:
        return self.path.with_name(f".{self.path.name}.taken")

    def note(self) -> None:
        said = {"name": self.name, "host": self.host, "tries": self.tries, "run": self.run}
        passing = self.notes.with_name(self.notes.name + ".tmp")
        passing.write_text(json.dumps(said), encoding="ascii")
        passing.replace(self.notes)


class Watcher:
    """Looks into the folder of each source, file by file in the order of their times. Several processes may do so at once.

    `waiting`: files seen in the last round that are not quiet yet. `troubles`: sources that could not be looked after.
    """

    def __init__(
        self, feeds: Feeds, folder: Path, clock: Callable[[], datetime] | None = None, *, by: str = "watch",
        quiet: timedelta | None = None,
    ) -> None:
        """`folder` holds a folder for each source, called as the source is."""
        self.feeds, self.folder, self.by = feeds, folder, by
        self.clock = clock or feeds.clock
        self.quiet = QUIET if quiet is None else quiet
        self.waiting = self.troubles = 0
        self._seen: dict[Path, tuple[tuple[int, ...], datetime]] = {}
        self._said: set[str] = set()

    def pass_once(self, stop: Callable[[], bool] = lambda: False) -> list[Outcome]:
        """Take what is complete, one file after another until `stop()`; returns what became of them.

        A file is in exactly one place at any time. Raises Busy and Unreachable; the file in hand is taken up later.
        """
        self.waiting = self.troubles = 0
        outcomes: list[Outcome] = []
        for source, inbox in self._inboxes():
            if stop():
                break
            try:
                with _alone(_place(inbox, WORKING)) as alone:
                    if alone:
                        self._look_after(source, inbox, outcomes, stop)
            except (Busy, Unreachable):
                raise
            except Exception:
                self.troubles += 1
                log.exception("feed.folder_failed", extra={"source": source})
        return outcomes

    def _inboxes(self) -> Iterator[tuple[str, Path]]:
        if not self.folder.is_dir():
            self._say_once("feed.no_folder", str(self.folder))
            return
        with os.scandir(self.folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False) and entry.name in self.feeds.feeds:
                yield entry.name, Path(entry.path)
            else:
                self._say_once("feed.folder_of_no_source", entry.name)

    def _say_once(self, event: str, name: str) -> None:
        if name not in self._said:
            self._said.add(name)
            log.warning(event, extra={"folder": name.encode(errors="replace").decode()})

    # ---------------------------------------------------------------------------------------- one source

    def _look_after(self, source: str, inbox: Path, outcomes: list[Outcome], stop: Callable[[], bool]) -> None:
        for left in self._left_over(inbox):
            self._work(source, inbox, left, outcomes)
        while not stop() and not self._blocked(source, inbox, outcomes):
            file = self._next(inbox)
            if file is None:
                return
            taken = self._take(inbox, file)
            if taken is not None and not self._work(source, inbox, taken, outcomes):
                return

    def _next(self, inbox: Path) -> Path | None:
        """The oldest file, if it is complete: a younger one does not overtake it."""
        now = self.clock()
        seen: dict[Path, tuple[tuple[int, ...], datetime]] = {}
        files = []
        with os.scandir(inbox) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(IN_PROGRESS):
                    continue
                if entry.is_symlink():
                    self._say_once("feed.link_ignored", entry.path)
                elif entry.is_file(follow_symlinks=False):
                    path, state = Path(entry.path), entry.stat(follow_symlinks=False)
                    looks = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
                    before = self._seen.get(path)
                    seen[path] = before if before is not None and before[0] == looks else (looks, now)
                    files.append((state.st_mtime_ns, entry.name, path))
        self._seen = {path: known for path, known in self._seen.items() if path.parent != inbox} | seen
        if not files:
            return None
        _, _, oldest = min(files)
        if now - seen[oldest][1] >= self.quiet:
            return oldest
        self.waiting += len(files)
        return None

    def _take(self, inbox: Path, file: Path) -> _Taken | None:
        """Move a file to working/, under a name that every database and report can hold; None when it went elsewhere."""
        taken = _Taken(_free(_place(inbox, WORKING), _plain(file.name)), file.name, identity.host())
        taken.note()
        try:
            file.rename(taken.path)
        except FileNotFoundError:
            taken.notes.unlink()
            return None
        if not stat.S_ISREG(taken.path.lstat().st_mode):  # exchanged for a link in the last moment
            taken.path.rename(file)
            taken.notes.unlink()
            return None
        self._seen.pop(file, None)
        faultpoints.reached("feed_file_taken")
        return taken

    def _left_over(self, inbox: Path) -> Iterator[_Taken]:
        """Files of a process that is gone: we have the lock, so nobody of this machine works on them."""
        working = _place(inbox, WORKING)
        for path in sorted(working.iterdir()):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            taken = _noted(path)
            fresh = datetime.fromtimestamp(path.stat().st_ctime, tz=self.clock().tzinfo) > self.clock() - FOREIGN
            if taken.host == identity.host() or not fresh:
                yield taken

    # ------------------------------------------------------------------------------------------ one file

    def _work(self, source: str, inbox: Path, taken: _Taken, outcomes: list[Outcome]) -> bool:
        """Plan, apply and move a file; False: it stays in working/ and is taken up in a later round."""
        taken.host, taken.tries = identity.host(), taken.tries + 1
        taken.note()
        try:
            outcome = self._handled(source, inbox, taken)
        except (Busy, Unreachable):
            taken.tries -= 1
            taken.note()
            raise
        if outcome is None:
            return False
        outcomes.append(outcome)
        log.info("feed.file", extra={"source": source, "state": outcome.state, "run": outcome.run.id if outcome.run else None})
        return True

    def _handled(self, source: str, inbox: Path, taken: _Taken) -> Outcome | None:
        run = self._known(taken.run)
        if run is not None and run.state in (APPLYING, APPLIED):
            return self._move(source, inbox, taken, DONE, run, _applied(run))
        if taken.tries > TRIES:
            told = (f"Muster stopped {TRIES} times while it worked on this file, and leaves it now. Nobody was changed by it. "
                    f"`muster feed plan {source} FILE` shows what is wrong.")  # fmt: skip
            return self._move(source, inbox, taken, REFUSED, None, told)
        for _ in range(PLANS):
            run = self.feeds.plan_file(source, taken.path, by=self.by)
            taken.run = run.id
            taken.note()
            faultpoints.reached("feed_file_planned")
            if run.state == HELD:
                return self._move(source, inbox, taken, WAITING, run, _held(run))
            if run.state != PLANNED:
                return self._move(source, inbox, taken, REFUSED, run, run.problem or f"The plan is {run.state}.")
            try:
                run = self.feeds.apply(run)
            except NotApplied as problem:
                # Another plan of the source was applied meanwhile: this one is put aside, and made anew.
                self._put_aside(run, str(problem))
                continue
            faultpoints.reached("feed_file_applied")
            return self._move(source, inbox, taken, DONE, run, _applied(run))
        taken.tries -= 1
        taken.note()
        return None

    def _put_aside(self, run: Run, why: str) -> None:
        try:
            self.feeds.drop(run, by=self.by, reason=why)
        except NotApplied:
            log.info("feed.plan_gone", extra={"run": run.id})

    def _known(self, run_id: str | None) -> Run | None:
        if run_id is None:
            return None
        try:
            with self.feeds.database.read() as conn:
                return runs.get(conn, run_id)
        except runs.NoSuchRun:
            return None

    def _move(self, source: str, inbox: Path, taken: _Taken, where: str, run: Run | None, told: str) -> Outcome:
        """The report first, then the file: where the file is, the report is."""
        now = self.clock()
        target = _free(_place(inbox, where), f"{now:%Y%m%dT%H%M%SZ}_{_short(taken.name)}")
        state = {WAITING: "held"}.get(where, where)
        reports.write(self.feeds.database, self.feeds.feed(source), Report(source, taken.name, state, told, now, run), taken.path, target)
        faultpoints.reached("feed_file_reported")
        taken.path.rename(target)
        taken.notes.unlink(missing_ok=True)
        return Outcome(source, taken.name, state, target, told, run)

    # ------------------------------------------------------------------------------------------ held files

    def _blocked(self, source: str, inbox: Path, outcomes: list[Outcome]) -> bool:
        """Whether a held file keeps later ones waiting. One that was decided meanwhile goes its way first."""
        for path in sorted(_place(inbox, WAITING).iterdir()):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            run_id = reports.run_of(path)
            if run_id is None:  # a report, or something that a person put there
                continue
            if not self._decided(source, inbox, path, self._known(run_id), outcomes):
                return True
        return False

    def _decided(self, source: str, inbox: Path, path: Path, run: Run | None, outcomes: list[Outcome]) -> bool:
        now = self.clock()
        if run is not None and run.state in (HELD, APPROVED) and now - run.created_at <= runs.PLAN_LIFE:
            return False
        name = _STAMP.sub("", path.name)
        where, told = _decision(run)
        if run is not None and where is not None:
            outcomes.append(self._move(source, inbox, _Taken(path, name, identity.host()), where, run, told))
            reports.remove(path)
            return True
        taken = _Taken(_free(_place(inbox, WORKING), _plain(name)), name, identity.host())
        taken.note()
        path.rename(taken.path)
        reports.remove(path)
        return self._work(source, inbox, taken, outcomes) and outcomes[-1].state != "held"


def _decision(run: Run | None) -> tuple[str | None, str]:
    """Where a held file goes after its plan was decided; nowhere when it has to be planned anew."""
    if run is not None and run.state in (APPLYING, APPLIED):
        return DONE, _applied(run)
    if run is not None and run.state == DROPPED and run.problem != SUPERSEDED:
        return REFUSED, f"The plan was {run.problem}. Nobody was changed by it."
    return None, ""


def _applied(run: Run) -> str:
    if not run.total:
        return "Nothing was to be done: everybody is as the file says."
    told = f"The plan {shown(run)} was applied. `muster feed show {shown(run)}` tells what becomes of its jobs."
    if run.counts.get("refused"):
        told += f" {run.counts['refused']:,} records were refused: correct them in the file {reports.FAILED} beside this, and put that here."
    return told


def _held(run: Run) -> str:
    return (f"The plan {shown(run)} is held, and nobody was changed. Later files wait. Look: `muster feed show {shown(run)}`; then "
            f"`muster feed approve {shown(run)} --reason …`, or `muster feed drop {shown(run)} --reason …`.")  # fmt: skip


# -------------------------------------------------------------------------------------------------- the folder


def _place(inbox: Path, name: str) -> Path:
    """A folder of ours within a source's; a link in its place could lead anywhere."""
    place = inbox / name
    place.mkdir(exist_ok=True)
    if place.is_symlink():
        raise OSError(f"{place} is a link; it has to be a folder")
    return place


@contextmanager
def _alone(working: Path) -> Iterator[bool]:
    """Whether nobody else looks after this source now; ends with the process, however that ends."""
    handle = os.open(working / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _noted(path: Path) -> _Taken:
    taken = _Taken(path, path.name, identity.host())
    try:
        said = json.loads(taken.notes.read_text(encoding="ascii"))
        return _Taken(path, str(said["name"]), str(said["host"]), int(said["tries"]), said["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return taken


def _free(folder: Path, name: str) -> Path:
    """A name in the folder that nothing has. Called under the source's lock."""
    path, number = folder / name, 1
    while os.path.lexists(path):
        number += 1
        stamp = _STAMP.match(name)
        path = folder / (f"{name[:stamp.end() - 1]}-{number}_{name[stamp.end():]}" if stamp else f"{number}-{name}")
    return path


def _plain(name: str) -> str:
    """A file's name as text that can be stored and shown: bytes that are no UTF-8, and controls, are replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return _short("".join(letter if letter.isprintable() else "_" for letter in text))


def _short(name: str) -> str:
    """Cut a name that leaves no room for a stamp and endings, before its own ending."""
    raw = os.fsencode(name)
    if len(raw) <= LONGEST:
        return name
    ending = os.fsencode(Path(name).suffix)[-20:]
    return (raw[: LONGEST - len(ending)] + ending).decode("utf-8", "ignore")
