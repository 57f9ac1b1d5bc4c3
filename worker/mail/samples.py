"""Which mails there are, in which languages, and each with made-up facts: for previews and for checking templates."""

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worker.mail.render import Mail
from worker.mail.wording import FALLBACK_LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.jobs import Registry

_BODY = re.compile(r"body\.([A-Za-z0-9-]+)\.html")


def mail_classes(registry: "Registry") -> dict[str, type[Mail]]:
    """Return the context of each mail: the one class of Mail that stands in the module of the job that sends it."""
    found: dict[str, type[Mail]] = {}
    for kind in registry:
        if kind.shape != "edge":
            continue
        module = sys.modules[kind.handler.__module__]
        classes = [
            value for _, value in inspect.getmembers(module, inspect.isclass) if issubclass(value, Mail) and value is not Mail
        ]
        own = [value for value in classes if value.__module__ == module.__name__] or classes
        if len(own) == 1:
            found[kind.name] = own[0]
    return found


def languages(folders: "Sequence[Path]", name: str) -> list[str]:
    """Return the languages in which a mail is written: the packaged one first, then those that somebody has added."""
    files = {path.name for folder in folders for path in (folder / name).glob("*.*.*")}
    written = {match[1] for file in files if (match := _BODY.fullmatch(file))}
    added = {one for one in written if {f"subject.{one}.txt", f"body.{one}.txt"} <= files}
    return [FALLBACK_LANGUAGE, *sorted(added - {FALLBACK_LANGUAGE})]
