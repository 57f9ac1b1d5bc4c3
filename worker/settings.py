"""Everything that can be set, from MUSTER_* variables and an optional muster.toml; wrong values are named."""

import hashlib
import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

PREFIX = "MUSTER_"
FILE = "muster.toml"
# Said in muster.toml and nowhere else: tables, which no variable can hold.
FILE_ONLY = ("feeds", "authority")
# Where those were said: known to `load`, set by nobody.
_DECLARED_IN = "declared_in"
# Hosts that mean "listen everywhere", which no browser can go to.
EVERY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104 (compared with, never bound)


class WrongSettings(Exception):
    """A setting has a value that Muster cannot use."""


class Settings(BaseModel):
    """The settings of one process. The description of each field is its line in docs/operate.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    database_url: str = Field(
        "sqlite:///muster.db", description="Where the ledger and the directory live: sqlite:///FILE or postgresql://…"
    )
    broker_url: str | None = Field(
        None, description="redis://HOST:PORT/DB, rediss://… or unix://PATH; unset: the queue lives in the process"
    )
    secret_key: str | None = Field(
        None,
        min_length=32,
        description="Signs links and fingerprints; at least 32 characters, the same for every process, kept for good. "
        "Embedded, a file muster.key beside the database is made when it is unset",
    )
    smtp_url: str | None = Field(
        None, description="The mail relay: smtp://HOST:PORT, smtp+starttls://USER:PASSWORD@HOST:587 or smtps://…:465"
    )
    mail_folder: Path | None = Field(
        None, description="For trying out: mails land here as .eml files (mode 0600) when no relay is set"
    )
    mail_from: str = Field("Muster <muster@localhost.localdomain>", description="Sender of every mail: NAME <ADDRESS>")
    mail_reply_to: str | None = Field(None, description="Where answers to mails go, if anywhere")
    mail_domains: tuple[str, ...] = Field(
        (), description="Domains accepted in addition to public ones, such as corp.local (comma-separated)"
    )
    templates: Path | None = Field(None, description="A folder whose mail templates take the place of the packaged ones")
    organisation: str = Field("Your organisation", description="Named in every mail")
    support_contact: str = Field("your IT help desk", description="Whom people should ask, named in every mail")
    recovery_url: str | None = Field(
        None, description="Address, with {token}, of a page of your own where a person sets a password; unset: Muster's "
        "page /recover/{token} below MUSTER_PUBLIC_URL"
    )
    invitation_url: str | None = Field(
        None, description="Address, with {token}, of a page of your own where an invitation is accepted; unset: Muster's "
        "page /invite/{token} below MUSTER_PUBLIC_URL"
    )
    listen: str = Field(
        "127.0.0.1:8000", description="HOST:PORT where `muster up` and `muster api` answer HTTP; port 0 takes any free one"
    )
    public_url: str | None = Field(
        None, description="Address under which people and systems reach the HTTP doors, such as https://id.example.org; "
        "unset: the address listened on. With https:// cookies are sent over TLS alone"
    )
    trusted_proxies: str = Field(
        "127.0.0.1", description="Addresses of proxies whose X-Forwarded-For and -Proto are believed (comma-separated)"
    )
    actors: tuple[str, ...] = Field(("actors",), description="Packages that hold the jobs (comma-separated)")
    unique_email: bool = Field(False, description="Whether two users may not share an e-mail address")
    administrators: str = Field("administrators", description="The group that must never lose its last active member")
    locale: str = Field("en", description="Language of mails to people who have none of their own")
    zone: str = Field("UTC", description="Time zone of people who have none of their own")
    queue_kinds: tuple[str, ...] = Field(
        ("*",), description="Which kinds foreign queue messages may ask for; patterns such as add_* (comma-separated)"
    )
    retention_days: int = Field(
        30, ge=3, le=3650, description="After how many days a finished job keeps only its key, outcome and fingerprint"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged")
    feed_folder: Path | None = Field(
        None, description="A folder to watch: its subfolders, each named after a source of people, take files"
    )
    feeds: Mapping[str, Any] = Field({}, description="The sources of people, as they stand in the file")
    authority: Mapping[str, tuple[str, ...]] = Field(
        {}, description="For a field about people the sources that may write it, best first"
    )
    declared_in: Path | None = Field(None, description="The file that feeds and authority were read from")

    @field_validator("authority", mode="before")
    @classmethod
    def _dotted(cls, value: Any) -> Any:
        """Take `attributes.phone` without quotes, which TOML makes a table in a table, for what it is meant to be."""
        if not isinstance(value, Mapping) or not isinstance(value.get("attributes"), Mapping):
            return value
        inner = {f"attributes.{name}": one for name, one in value["attributes"].items()}
        return {name: one for name, one in value.items() if name != "attributes"} | inner

    @field_validator("mail_domains", "actors", "queue_kinds", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("use a name of the IANA time zone database, such as Europe/Berlin")
        return value

    @field_validator("recovery_url", "invitation_url")
    @classmethod
    def _holds_token(cls, value: str | None) -> str | None:
        if value is not None and ("{token}" not in value or not value.startswith(("http://", "https://"))):
            raise ValueError("use an http(s) address that holds {token}")
        return value

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError("use HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("use an http(s) address, such as https://id.example.org")
        return None if value is None else value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("use redis://HOST:PORT/DB, rediss://… or unix://PATH, or leave it unset")
        return value

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, when it is SQLite."""
        if self.database_url.startswith("sqlite:///"):
            return Path(self.database_url.removeprefix("sqlite:///"))
        return None

    @property
    def embedded(self) -> bool:
        """Whether database and queue live in this process: one file, nothing to install."""
        return self.sqlite_path is not None and self.broker_url is None

    @property
    def web_address(self) -> str:
        """Where people reach the HTTP doors, without a slash at its end: the public URL, else the address listened on."""
        if self.public_url is not None:
            return self.public_url
        host, _, port = self.listen.rpartition(":")
        return f"http://{'localhost' if host in EVERY_ADDRESS else host}:{port}"

    @property
    def recovery_page(self) -> str:
        """The address of the page where a person sets a password; holds {token}."""
        return self.recovery_url or f"{self.web_address}/recover/{{token}}"

    @property
    def invitation_page(self) -> str:
        """The address of the page where an invitation is accepted; holds {token}."""
        return self.invitation_url or f"{self.web_address}/invite/{{token}}"

    @property
    def mail_destination(self) -> str | Path | None:
        """Where mails go: the relay's URL, else a folder of .eml files (embedded always has one), else nowhere."""
        if self.smtp_url:
            return self.smtp_url
        if self.mail_folder is None and self.embedded and self.sqlite_path is not None:
            return self.sqlite_path.parent / "mails"
        return self.mail_folder

    @cached_property
    def key(self) -> bytes:
        """The 32 bytes that everything keyed is derived from."""
        return hashlib.sha256(b"muster\0" + self.secret_text.encode()).digest()

    @cached_property
    def secret_text(self) -> str:
        """The secret key as given, or (on SQLite) from the file beside the database, made when missing."""
        if self.secret_key:
            return self.secret_key
        if self.sqlite_path is None:
            raise WrongSettings(
                "MUSTER_SECRET_KEY is not set. Every process needs the same one; make it with "
                "`python3 -c 'import secrets; print(secrets.token_hex(32))'` and keep it."
            )
        return _key_file(self.sqlite_path.with_suffix(".key"))

    @cached_property
    def default_zone(self) -> ZoneInfo:
        """The time zone of people who have none of their own."""
        return ZoneInfo(self.zone)


def _key_file(path: Path) -> str:
    """Read the secret key from `path`; make it (mode 0600) when there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = path.read_text().strip()
        if len(text) < 32:
            raise WrongSettings(f"The key file {path} is damaged: it holds fewer than 32 characters.") from None
        return text
    text = secrets.token_hex(32)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return text


def load(environ: Mapping[str, str] | None = None, file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings: overrides beat MUSTER_* variables, which beat muster.toml, which beats the defaults.

    Raises WrongSettings naming every wrong value, where it came from and what is accepted.
    """
    environ = os.environ if environ is None else environ
    chosen = file or Path(environ.get(PREFIX + "CONFIG", FILE))
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if chosen.exists():
        try:
            loaded = tomllib.loads(chosen.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise WrongSettings(f"{chosen} is not valid TOML: {error}") from error
        for name, value in loaded.items():
            values[name], origin[name] = value, f"{name} in {chosen}"
        if _DECLARED_IN in loaded:
            raise WrongSettings(f"{_DECLARED_IN} in {chosen}: Muster notes that itself; take it out.")
        values[_DECLARED_IN] = chosen
    elif file is not None or PREFIX + "CONFIG" in environ:
        raise WrongSettings(f"There is no configuration file {chosen}.")
    for name in variables():
        variable = PREFIX + name.upper()
        if environ.get(variable):
            values[name], origin[name] = environ[variable], variable
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise WrongSettings("\n".join(_explain(problem, origin) for problem in error.errors())) from None


def variables() -> tuple[str, ...]:
    """Return the names of the settings that a MUSTER_* variable may give."""
    return tuple(name for name in Settings.model_fields if name not in (*FILE_ONLY, _DECLARED_IN))


def _explain(problem: Mapping[str, Any], origin: Mapping[str, str]) -> str:
    """Say in one line which setting is wrong, where it stands and what is accepted; never the value of a secret."""
    location: Sequence[Any] = problem["loc"]
    name = str(location[0]) if location else ""
    where = origin.get(name, name)
    if len(location) > 1:
        where = where.replace(name, ".".join(str(part) for part in location), 1)
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting. The settings are: {', '.join((*variables(), *FILE_ONLY))}."
    given = "" if any(part in name for part in ("secret", "url")) else f" (given: {problem['input']!r})"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}{given}."
