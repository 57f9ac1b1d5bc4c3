"""The pictures of docs/states.md show the moves that there are, and no other."""

import re

from manual import blocks, page

from worker.states import MOVES, State


def test_the_pictures_show_every_move_and_no_other() -> None:
    drawn = [
        (State(start), State(end))
        for block in blocks("mermaid", page("states.md"))
        for start, end in re.findall(r"^ +(\w+) --> (\w+):", block, re.MULTILINE)
    ]
    moves = {(start, end) for start, ends in MOVES.items() for end in ends}
    assert len(drawn) == len(set(drawn))
    assert {f"{start} --> {end}" for start, end in drawn} == {f"{start} --> {end}" for start, end in moves}


def test_every_state_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", page("states.md"), re.MULTILINE)
    assert sorted(explained) == sorted(State)
