"""Settings: where they come from, which values are accepted, and errors that name what is wrong but no secret."""

import stat
from pathlib import Path

import pytest

from worker.settings import Settings, WrongSettings, load

KEY = "k" * 32


def test_nothing_set_is_the_embedded_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load({})
    assert (settings.sqlite_path, settings.embedded, settings.actors) == (Path("muster.db"), True, ("actors",))
    assert settings.mail_destination == Path("mails")


def test_an_argument_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text('organisation = "of the file"\nzone = "Asia/Tokyo"\nlocale = "de"\nretention_days = 9\n')
    environ = {"MUSTER_ORGANISATION": "of the environment", "MUSTER_ZONE": "Europe/Berlin", "MUSTER_LOCALE": ""}
    settings = load(environ, file, zone="Europe/Paris", organisation=None)
    assert (settings.organisation, settings.zone, settings.locale) == ("of the environment", "Europe/Paris", "de")
    assert settings.retention_days == 9


def test_lists_are_separated_by_commas() -> None:
    settings = load({"MUSTER_ACTORS": "actors, ours ,", "MUSTER_QUEUE_KINDS": "add_*"})
    assert (settings.actors, settings.queue_kinds) == (("actors", "ours"), ("add_*",))


@pytest.mark.parametrize(("name", "value", "said"), [
    ("DATABASE_URL", "mysql://admin:hunter2@db", "postgresql://"),
    ("BROKER_URL", "amqp://guest:hunter2@mq", "redis://"),
    ("SECRET_KEY", "hunter2", "32"),
    ("ZONE", "Mars/Olympus", "Europe/Berlin"),
    ("RECOVERY_URL", "https://example.org/", "{token}"),
    ("RETENTION_DAYS", "1", "3"),
    ("LOG_LEVEL", "loud", "debug"),
    ("UNIQUE_EMAIL", "perhaps", "bool"),
])
def test_a_wrong_value_is_named_with_what_is_accepted(name: str, value: str, said: str) -> None:
    with pytest.raises(WrongSettings) as error:
        load({f"MUSTER_{name}": value})
    assert f"MUSTER_{name}" in str(error.value)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_all_wrong_values_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text('colour = "blue"\nzone = "Mars"\n')
    with pytest.raises(WrongSettings) as error:
        load({"MUSTER_LOCALE": "de", "MUSTER_RETENTION_DAYS": "x"}, file)
    assert f"colour in {file}" in str(error.value)
    assert f"zone in {file}" in str(error.value)
    assert "MUSTER_RETENTION_DAYS" in str(error.value)


def test_feeds_are_kept_as_they_stand_in_the_file_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text(
        '[feeds.hr]\nmode = "full"\ncolour = 3\n[authority]\nemail = ["hr"]\nattributes.phone = ["badge", "hr"]\n', encoding="utf-8"
    )
    environ = {"MUSTER_FEEDS": "{}", "MUSTER_AUTHORITY": "hr", "MUSTER_DECLARED_IN": "elsewhere.toml", "MUSTER_FEED_FOLDER": "in"}
    settings = load(environ, file)
    assert settings.feeds == {"hr": {"mode": "full", "colour": 3}}
    assert settings.authority == {"email": ("hr",), "attributes.phone": ("badge", "hr")}
    assert (settings.declared_in, settings.feed_folder) == (file, Path("in"))


@pytest.mark.parametrize(("content", "said"), [
    ("feeds = 3", "feeds in"),
    ("[authority]\nemail = 'hr'", "authority.email in"),
    ("declared_in = 'elsewhere.toml'", "declared_in in"),
    ("feed = 3", "feed_folder, feeds, authority."),
])
def test_wrong_tables_of_feeds_are_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "muster.toml"
    file.write_text(content)
    with pytest.raises(WrongSettings) as error:
        load({}, file)
    assert said in str(error.value)


def test_without_a_file_nothing_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load({})
    assert (settings.feeds, settings.authority, settings.declared_in) == ({}, {}, None)


@pytest.mark.parametrize("content", [None, "this is = = no toml"])
def test_a_file_that_is_missing_or_damaged_is_said_so(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "muster.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WrongSettings, match=r"muster\.toml"):
        load({"MUSTER_CONFIG": str(file)})


def test_embedded_the_key_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/muster.db"
    first, second = Settings(database_url=url), Settings(database_url=url)
    assert first.key == second.key
    file = tmp_path / "data" / "muster.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("short")
    with pytest.raises(WrongSettings, match="damaged"):
        _ = Settings(database_url=url).key


def test_in_production_the_key_has_to_be_given() -> None:
    with pytest.raises(WrongSettings, match="MUSTER_SECRET_KEY"):
        _ = Settings(database_url="postgresql://db/muster").key
    assert Settings(database_url="postgresql://db/muster", secret_key=KEY).key != KEY.encode()


def test_mails_go_to_the_relay_else_to_a_folder_else_nowhere(tmp_path: Path) -> None:
    url = "postgresql://db/muster"
    assert Settings(database_url=url).mail_destination is None
    assert Settings(database_url=url, mail_folder=tmp_path).mail_destination == tmp_path
    assert Settings(database_url=url, mail_folder=tmp_path, smtp_url="smtp://relay").mail_destination == "smtp://relay"


@pytest.mark.parametrize(("given", "recovery", "invitation"), [
    ({}, "http://127.0.0.1:8000/recover/{token}", "http://127.0.0.1:8000/invite/{token}"),
    ({"LISTEN": "0.0.0.0:9000"}, "http://localhost:9000/recover/{token}", "http://localhost:9000/invite/{token}"),
    ({"LISTEN": "[::]:9000"}, "http://localhost:9000/recover/{token}", "http://localhost:9000/invite/{token}"),
    ({"LISTEN": "[::1]:9000"}, "http://[::1]:9000/recover/{token}", "http://[::1]:9000/invite/{token}"),
    ({"PUBLIC_URL": "https://id.example.org/", "LISTEN": "0.0.0.0:9000"},
     "https://id.example.org/recover/{token}", "https://id.example.org/invite/{token}"),
    ({"PUBLIC_URL": "https://id.example.org", "RECOVERY_URL": "https://own.example.org/p?t={token}"},
     "https://own.example.org/p?t={token}", "https://id.example.org/invite/{token}"),
])
def test_links_in_mails_lead_to_our_own_pages_or_where_it_is_said(given: dict[str, str], recovery: str, invitation: str) -> None:
    settings = load({f"MUSTER_{name}": value for name, value in given.items()})
    assert (settings.recovery_page, settings.invitation_page) == (recovery, invitation)
