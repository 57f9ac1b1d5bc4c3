"""Work that takes longer than a browser waits: begun beside the request, and gone on with by the workers if we stop."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

# What is refused is refused within this time; what is still going on by then is going well, and the page shows how far.
SECONDS = 2.0


class Aside(threading.Thread):
    """Runs one piece of work in a thread of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        """Begin at once. `work` has to be something that a kill at any moment does not harm."""
        super().__init__(name="aside", daemon=True)
        self._work = work
        self._error: Exception | None = None
        self._told = False
        self.start()

    def run(self) -> None:
        """Do it, and keep what went wrong for whoever waits."""
        try:
            self._work()
        except Exception as error:
            self._error = error
            if self._told:
                log.warning("console.aside_failed", extra={"error": type(error).__name__})

    def settled(self) -> None:
        """Wait a moment for its end; raises what it raised within that time."""
        self.join(SECONDS)
        self._told = True
        if self._error is not None:
            raise self._error
