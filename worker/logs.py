"""How log lines look: time, level, event, then its ids as name=value."""

import logging
from datetime import UTC, datetime
from pathlib import Path

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """One line an event; what was given as `extra` follows the event's name."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = "".join(f" {name}={_word(value)}" for name, value in vars(record).items() if name not in _USUAL)
        line = f"{at} {record.levelname.lower()} {record.getMessage()}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _word(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char.isspace() for char in text) else text


def to(place: Path | None, level: str) -> None:
    """Send the log of this process to a file, or (None) to standard error. Other packages say warnings alone."""
    handler = logging.StreamHandler() if place is None else logging.FileHandler(place, encoding="utf-8")
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("worker").setLevel(level.upper())
