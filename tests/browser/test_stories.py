"""What people do in a browser, from the first page to the last, on a running `muster up` with a relay that answers."""

import re
from collections.abc import Callable, Iterator

import pytest
from chromium import Browser
from crew import until
from hr import DECLARED, csv_text, person
from posts import text as mail_text
from selenium.webdriver.common.by import By
from upstairs import Upstairs

from worker.mail.catcher import Catcher

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# Nobody leaves without somebody's word.
CAREFUL = DECLARED.replace("disable = {}", "disable = { count = 0, percent = 0 }")


class Relay(Catcher):
    """A relay that can be told to take no recipient."""

    refusing = False

    def answer(self, moment: str, usual: str) -> str:
        return "550 5.1.1 no such mailbox" if self.refusing and moment == "RCPT" else usual


@pytest.fixture(scope="module")
def relay() -> Relay:
    return Relay()


@pytest.fixture(scope="module")
def up(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstairs]:
    """A running Muster with a feed, two groups and a relay."""
    with Upstairs(tmp_path_factory.mktemp("up"), config=CAREFUL, relay=relay) as running:
        for group in ("staff", "sales"):
            running.done("create_group", {"group": group})
        yield running


@pytest.fixture(scope="module")
def browser(up: Upstairs, open_browser: Callable[[str], Browser]) -> Browser:
    """A browser in which an administrator is signed in."""
    opened = open_browser(up.url)
    opened.go("/")
    opened.write("token", up.token("boss", "admin"))
    opened.press("Sign in")
    opened.wait_for("boss")
    assert opened.path == "/console"
    return opened


def test_failed_recovery_mails_are_retried_with_two_clicks(up: Upstairs, relay: Relay, browser: Browser) -> None:
    up.done("create_user", {"username": "rita", "email": "rita@example.com", "name": "Rita Reed"})
    relay.refusing = True
    job_id = up.ask("send_recovery_email", {"user": "rita"})
    until(lambda: up.office.ended(job_id).state == "rejected", "the relay to refuse the mail")
    relay.refusing = False
    browser.go("/console")
    browser.find("a[href*='send_recovery_email'][href*='retry']").click()
    browser.wait_for("send_recovery_email")
    browser.find("main form button.main").click()
    until(lambda: up.office.ended(job_id).state == "succeeded", "the mail to leave")
    browser.go(f"/console/jobs/{job_id}")
    browser.wait_for("succeeded")
    assert browser.complaints() == []


def test_a_held_plan_is_read_and_approved(up: Upstairs, browser: Browser) -> None:
    people = [person("1", "Ann", "Archer"), person("2", "Bob", "Baker")]
    (up.folder / "people.csv").write_text(csv_text(people))
    up.muster("feed", "apply", "hr", "people.csv")
    until(lambda: closed(up, "bob.baker") is False, "Bob to join")
    file = up.folder / "leavers.csv"
    file.write_text(csv_text([people[0], {**people[1], "status": "Gone", "end": "2026-01-31"}]))
    browser.go("/console/feeds")
    browser.press("Plan a file")
    browser.find("input[type=file]").send_keys(str(file))
    browser.press("Plan it")
    browser.wait_for("Is it right?")
    assert "Bob Baker" in browser.text()
    assert closed(up, "bob.baker") is False
    browser.write("reason", "he told us himself")
    browser.press("Approve and carry out")
    until(lambda: closed(up, "bob.baker") is True, "Bob to be let go")
    browser.wait_for("All its jobs have ended")
    assert browser.complaints() == []


def closed(up: Upstairs, username: str) -> bool | None:
    user = up.office.user(username)
    return None if user is None else not user.is_active


def test_a_person_is_created_and_offboarded(up: Upstairs, browser: Browser) -> None:
    browser.go("/console/people/do/create_user")
    browser.write("username", "nora")
    browser.write("email", "nora@example.com")
    browser.write("name", "Nora North")
    browser.press("Show what it would change")
    browser.wait_for("What it would change")
    assert up.office.user("nora") is None
    browser.find("form.confirm button[value=confirm]").click()
    until(lambda: up.office.user("nora") is not None, "Nora to be there")
    browser.go("/console/people?search=nora")
    browser.press("nora")
    browser.wait_for("Nora North")
    where = browser.path
    browser.go(f"/console/people/do/offboard_user?user={where.rsplit('/', 1)[1]}")
    browser.find("button[value=look]").click()
    browser.wait_for("What it would change")
    for field in browser.driver.find_elements(By.NAME, "typed"):
        field.send_keys("nora")
    browser.find("form.confirm button[value=confirm]").click()
    until(lambda: closed(up, "nora") is True, "Nora to be let go")
    browser.go(where)
    browser.wait_for("inactive")
    assert browser.complaints() == []


def test_a_password_is_set_from_the_mails_link(up: Upstairs, relay: Relay, browser: Browser) -> None:
    up.done("create_user", {"username": "paul", "email": "paul@example.com", "name": "Paul Poe"})
    before = len(relay.mails)
    browser.go("/recover")
    browser.driver.find_element(By.CSS_SELECTOR, "form input:not([type=hidden])").send_keys("paul")
    browser.find("form button").click()
    assert relay.wait_for(before + 1, 30)
    link = find_link(relay.mails[before].message)
    assert link.startswith(f"{up.url}/recover/")
    browser.go(link)
    for field in browser.driver.find_elements(By.CSS_SELECTOR, "input[type=password]"):
        field.send_keys("a long and quiet afternoon")
    browser.find("form button").click()
    browser.wait(lambda: link not in browser.driver.current_url, "the page after")
    user = up.office.user("paul")
    assert user is not None
    assert user.password_hash is not None
    assert relay.wait_for(before + 2, 30), "the mail that says so"
    browser.go(link)
    assert browser.driver.find_elements(By.CSS_SELECTOR, "input[type=password]") == []


def find_link(message: bytes) -> str:
    import email
    import email.policy
    from email.message import EmailMessage

    mail = email.message_from_bytes(message, _class=EmailMessage, policy=email.policy.default)
    found = re.search(r"http://\S+/recover/\S+", mail_text(mail))
    assert found is not None
    return found[0]
