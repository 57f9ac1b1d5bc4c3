"""E-mail addresses are unique where the setting says so, also for two transactions at one moment."""

import threading
from collections.abc import Iterator

import pytest
from office import Office


@pytest.fixture
def strict(database_url: str) -> Iterator[Office]:
    """An office where two people may not share an address."""
    opened = Office(database_url, unique_email=True)
    yield opened
    opened.close()


def test_addresses_may_be_shared_unless_the_setting_says_otherwise(office: Office) -> None:
    for name in ("dora", "emil"):
        assert office.do("create_user", {"username": name, "email": "office@example.com"}).state == "succeeded"


def test_a_second_owner_is_refused_however_the_address_is_spelt(strict: Office) -> None:
    assert strict.do("create_user", {"username": "dora", "email": "dora@example.com"}).state == "succeeded"
    for number, (kind, fields) in enumerate(
        [
            ("create_user", {"username": "emil", "email": "DORA@Example.COM"}),
            ("onboard_user", {"username": "emil", "email": "Dora@example.com"}),
        ]
    ):
        assert strict.do(kind, fields).reason == "email_taken", number
    strict.do("create_user", {"username": "emil"})
    assert strict.do("update_user", {"user": "emil", "email": "dora@example.com"}).reason == "email_taken"
    assert strict.do("update_user", {"user": "dora", "email": "Dora@example.com"}).state == "succeeded", "one's own"
    strict.do("update_user", {"user": "dora", "email": None})
    assert strict.do("update_user", {"user": "emil", "email": "dora@example.com"}).state == "succeeded"


def test_of_two_in_one_batch_the_first_gets_the_address(strict: Office) -> None:
    jobs = [strict.submit("create_user", {"username": name, "email": "office@example.com"}) for name in ("dora", "emil")]
    strict.drain()
    assert [(strict.ended(job).state, strict.ended(job).reason) for job in jobs] == [
        ("succeeded", None), ("rejected", "email_taken"),
    ]  # fmt: skip


@pytest.fixture
def two(postgres_url: str) -> Iterator[tuple[Office, Office]]:
    """Two workers' offices on one PostgreSQL database."""
    first, second = Office(postgres_url, unique_email=True), Office(postgres_url, unique_email=True)
    yield first, second
    second.close()
    first.close()


@pytest.mark.parametrize("turn", range(4))
def test_two_workers_cannot_both_give_one_address(two: tuple[Office, Office], turn: int) -> None:
    asked = {"create_user": "dora", "onboard_user": "emil"}
    jobs = [two[0].submit(kind, {"username": name, "email": "office@example.com"}) for kind, name in asked.items()]
    start = threading.Barrier(2)

    def work(office: Office, kind: str) -> None:
        start.wait()
        office.runner.run(kind, urgent=False)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(two, asked, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((two[0].ended(job).state, two[0].ended(job).reason) for job in jobs) == [
        ("rejected", "email_taken"), ("succeeded", None),
    ]  # fmt: skip
