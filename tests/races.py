"""Lets two transactions meet: the second begins while the first has done its work but has not committed it."""

import threading
from collections.abc import Callable
from typing import TypeVar

from office import Office

from worker.outcomes import Reject
from worker.scope import Scope

A = TypeVar("A")
B = TypeVar("B")

HEAD_START_SECONDS = 0.3
"""How long the second gets to run into what the first holds. Nothing depends on it but how much the test can see."""


def meet(office: Office, first: Callable[[Scope], A], second: Callable[[Scope], B]) -> tuple[A, B | Reject, bool]:
    """Run both, the second on a connection of its own while the first is open.

    Returns what each gave (a refusal of the second as such), and whether the second had to wait.
    """
    answers: list[B | Reject] = []

    def run() -> None:
        try:
            with office.scope() as other:
                answers.append(second(other))
        except Reject as refusal:
            answers.append(refusal)

    thread = threading.Thread(target=run)
    with office.scope() as scope:
        given = first(scope)
        thread.start()
        thread.join(HEAD_START_SECONDS)
        waited = thread.is_alive()
    thread.join(30)
    assert answers, "the second transaction never came to an end"
    return given, answers[0], waited
