"""`muster db` and `muster doctor`: the schema, and whether everything is as it should be."""

import click

from worker.cli import desk
from worker.screen import print_json, say


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def upgrade(dry_run: bool) -> None:
    """Bring the schema up to date; does nothing if it is."""
    from worker import migrate
    from worker.database import Database

    database = Database(desk.read_settings())
    try:
        file = database.settings.sqlite_path
        found = None
        if file is None or file.exists():
            with database.read() as conn:
                found = migrate.current(conn)
        if found is not None and found > migrate.HEAD:
            migrate.require(database)
        if found == migrate.HEAD:
            say(f"The schema is up to date: {migrate.HEAD}.")
        elif dry_run:
            say(f"The schema is {found or 'empty'}; it would be brought to {migrate.HEAD}. Nothing was changed.")
        else:
            migrate.upgrade_database(database)
            say(f"The schema is {migrate.HEAD} now; it was {found or 'empty'}.")
    finally:
        database.dispose()


@click.command()
@desk.json_option
def doctor(as_json: bool) -> None:
    """Check everything Muster needs, and say what to do."""
    from worker.doctor import examine, verdict
    from worker.screen import table

    findings = examine()
    if as_json:
        print_json({"ok": verdict(findings) == 0, "checks": [vars(one) for one in findings]})
    else:
        table(("check", "", "what was found"), [(one.check, one.state, one.text) for one in findings], whole=("check", ""))
    raise SystemExit(verdict(findings))
