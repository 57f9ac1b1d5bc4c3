"""What every test can ask for: a broker, a database on SQLite and on PostgreSQL, and no way out to the network."""

import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from office import Office
from receiver import Receiver
from servers import PostgresServer, RedisServer, ServerMissing
from sqlalchemy import NullPool, create_engine, inspect, text

REQUIRED = {word.strip() for word in os.environ.get("MUSTER_REQUIRE", "").split(",") if word.strip()}
"""What is a failure when it is absent (`MUSTER_REQUIRE=postgresql,redis,browser`), not a reason to skip."""

LONGEST_FIRST = ("tests/system/test_survival.py", "tests/system/", "tests/browser/", "tests/properties/")
"""Files that begin first, so that no processor waits at the end for one that began last; all others follow."""

TEMPLATE_DATABASE = "muster_template"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: drives a real Chromium; skipped where there is none")
    if unknown := REQUIRED - {"postgresql", "redis", "browser"}:
        message = f"MUSTER_REQUIRE names {sorted(unknown)}; it takes postgresql, redis and browser, separated by a comma"
        raise pytest.UsageError(message)
    config.option.loadscopereorder = False  # pytest-xdist would let the files with the most tests begin


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, path in enumerate(LONGEST_FIRST) if item.nodeid.startswith(path)), len(LONGEST_FIRST))


def _absent(name: str, reason: ServerMissing) -> None:
    if name in REQUIRED:
        pytest.fail(f"MUSTER_REQUIRE asks for {name}: {reason}", pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Refuse connections that leave this machine, and fail the test even if the code swallows the refusal.

    Gives the addresses refused so far.
    """
    refused: list[str] = []

    def watch(way_out: Callable[..., object]) -> Callable[..., object]:
        def watched(connection: socket.socket, address: object, *rest: object) -> object:
            if connection.family != socket.AF_UNIX and not _is_loopback(address):
                refused.append(f"{address}")
                message = f"a test tried to reach {address}; tests talk to this machine alone"
                raise ConnectionRefusedError(message)
            return way_out(connection, address, *rest)

        return watched

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, watch(getattr(socket.socket, name)))
    yield refused
    if refused:
        pytest.fail(f"this test tried to reach the network: {', '.join(refused)}", pytrace=False)


def _is_loopback(address: object) -> bool:
    host = str(address[0]) if isinstance(address, tuple) and address else str(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"", "localhost"}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the whole session. A test that breaks its server starts a `RedisServer` of its own."""
    try:
        server = RedisServer(tcp=True)
    except ServerMissing as reason:
        _absent("redis", reason)
        raise
    with server:
        yield server


@pytest.fixture
def broker_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session. A test that breaks its server starts a `PostgresServer` of its own."""
    try:
        server = PostgresServer(tcp=True)
    except ServerMissing as reason:
        _absent("postgresql", reason)
        raise
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated, empty database that is copied for each test (35 ms instead of all migrations)."""
    from worker.migrate import upgrade

    upgrade(postgres_server.create_database(TEMPLATE_DATABASE))
    return TEMPLATE_DATABASE


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer, postgres_template: str) -> str:
    """The URL of the one database that the tests of this session share, one after the other."""
    return postgres_server.create_database("muster_tests", template=postgres_template)


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The URL of a migrated, empty PostgreSQL database: emptied, as making one anew takes twenty times as long."""
    from worker.migrate import HEAD, MARK, WORKS_WITH, upgrade
    from worker.tables import meta, metadata

    engine = create_engine(postgres_database, poolclass=NullPool)
    ours = {*metadata.tables, "alembic_version"}
    with engine.begin() as conn:
        # Whatever an earlier test left connected ends here, so that nothing of it can come later.
        conn.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE datname = current_database() AND pid <> pg_backend_pid()"))  # fmt: skip
        found = set(inspect(conn).get_table_names())
        for left_over in sorted(found - ours):
            conn.execute(text(f"DROP TABLE {left_over}"))
        if ours <= found:
            conn.execute(text(f"TRUNCATE {', '.join(table.name for table in metadata.sorted_tables)} RESTART IDENTITY"))
            conn.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
            conn.execute(meta.insert().values(name=MARK, value=WORKS_WITH))
        else:  # a test took tables away
            conn.execute(text("DROP SCHEMA public CASCADE"))
            conn.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    upgrade(postgres_database)
    return postgres_database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file that is copied for each test."""
    from worker.migrate import upgrade

    file = tmp_path_factory.mktemp("template") / "muster.sqlite"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file of this test's own."""
    for part in sqlite_template.parent.glob(f"{sqlite_template.name}*"):  # the log beside it too, if it is there
        shutil.copy(part, tmp_path / part.name)
    return f"sqlite:///{tmp_path / sqlite_template.name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database: every test that asks runs on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """A small office on a migrated, empty database, on SQLite and on PostgreSQL."""
    opened = Office(database_url)
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A program on loopback that takes webhooks."""
    with Receiver() as opened:
        yield opened
