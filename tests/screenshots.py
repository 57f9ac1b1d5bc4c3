"""Makes the pictures in docs/screenshots from a running Muster with a made-up company: `python tests/screenshots.py`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from chromium import Browser, Theme, browsing
from crew import until
from faker import Faker
from hr import DECLARED, csv_text, person
from upstairs import Upstairs

from worker.mail.catcher import Catcher

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
CAREFUL = DECLARED.replace("disable = {}", "disable = { count = 2, percent = 1 }")
DEPARTMENTS = ("Sales", "Engineering", "Finance", "People")
DESK, PHONE = (1280, 800), (390, 844)


class Relay(Catcher):
    """A relay that does not know some of the mailboxes."""

    refusing = False

    def answer(self, moment: str, usual: str) -> str:
        return "550 5.1.1 no such mailbox" if self.refusing and moment == "RCPT" else usual


def company(up: Upstairs, relay: Relay) -> None:
    """People, a held plan, failed mails: what a morning looks like."""
    for group in ("staff", "sales", "engineering"):
        up.done("create_group", {"group": group})
    faker = Faker("en_GB")
    faker.seed_instance(4)
    people = [
        person(str(number), faker.unique.first_name(), faker.unique.last_name(), department=DEPARTMENTS[number % 4])
        for number in range(101, 181)
    ]
    (up.folder / "people.csv").write_text(csv_text(people))
    up.muster("feed", "apply", "hr", "people.csv")
    until(lambda: len(up.office.rows("users")) == len(people), "everybody to join")
    names = sorted(row["username"] for row in up.office.rows("users"))
    until(lambda: ended(up, "send_welcome_email") == len(people), "all to be welcomed")
    relay.refusing = True
    for name in names[:7]:
        up.ask("send_recovery_email", {"user": name}, why="asked for at the help desk")
    until(lambda: ended(up, "send_recovery_email") == 7, "the relay to refuse seven mails")
    relay.refusing = False
    for name in names[7:12]:
        up.ask("add_to_group", {"user": name, "group": "engineering"}, why="new team")
    gone = [{**one, "status": "Gone", "end": "2026-01-31"} for one in people[:9]]
    moved = [{**one, "department": "Sales"} for one in people[9:14]]
    (up.folder / "people-october.csv").write_text(csv_text([*gone, *moved, *people[14:], person("201", "Ingrid", "Solberg")]))
    up.muster("feed", "plan", "hr", "people-october.csv", code=1)  # it is held


def ended(up: Upstairs, kind: str) -> int:
    """How many jobs of a kind have ended."""
    return sum(row["finished_at"] is not None for row in up.office.jobs(kind))


def shoot(browser: Browser, name: str, path: str, theme: Theme = "light", size: tuple[int, int] = DESK) -> None:
    """Take one picture."""
    browser.window(*size, theme)
    browser.go(path)
    browser.picture(FOLDER / f"{name}.png")


def main() -> None:
    """Make all pictures anew."""
    relay = Relay()
    with (
        TemporaryDirectory(prefix="muster-pictures-") as folder, Upstairs(Path(folder), config=CAREFUL, relay=relay) as up,
        browsing(up.url) as browser,
    ):
        company(up, relay)
        browser.go("/")
        shoot(browser, "sign-in", "/console/sign-in")
        browser.write("token", up.token("ingrid", "admin"))
        browser.press("Sign in")
        browser.wait_for("ingrid")
        someone = up.office.rows("users")[20]
        [held] = up.office.rows("feed_run", state="held")
        shoot(browser, "now-light", "/console")
        shoot(browser, "now-dark", "/console", "dark")
        shoot(browser, "now-phone", "/console", "dark", PHONE)
        shoot(browser, "jobs", "/console/jobs")
        failed = next(row for row in up.office.jobs("send_recovery_email") if row["state"] == "rejected")
        shoot(browser, "job", f"/console/jobs/{failed['id']}")
        shoot(browser, "people", "/console/people")
        shoot(browser, "person", f"/console/people/{someone['id']}")
        shoot(browser, "plan", f"/console/feeds/runs/{held['id']}")
        shoot(browser, "mail", "/console/mail")
        shoot(browser, "recover", "/recover")
        shoot(browser, "api", "/docs")


if __name__ == "__main__":
    main()
