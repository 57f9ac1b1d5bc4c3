"""Every packaged mail: complete, safe for hostile names, and readable for everybody."""

import email
import email.policy
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Self

import html5lib
import pytest
from pydantic import Field

from worker.mail.mime import build_message, message_id_for
from worker.mail.render import Mail, Rendered, Templates, packaged_folder

AT = datetime(2026, 11, 23, 15, 4, tzinfo=UTC)
LINK = "https://id.example.com/recover/A1b2C3d4-E5f6_G7h8?lang=en&from=mail"
TOKEN = "A1b2C3d4-E5f6_G7h8"


class RecoveryMail(Mail):
    name: str = "Ann Smith"
    username: str = "ann.smith"
    link: str = LINK
    expires_at: datetime = AT
    valid_for_minutes: int = 60
    requested_by: str = "Dana Admin"
    requested_at: datetime = AT

    @classmethod
    def sample(cls) -> Self:
        return cls()


class WelcomeMail(Mail):
    name: str = "Ann Smith"
    username: str = "ann.smith"
    link: str = LINK
    expires_at: datetime = AT
    valid_for_minutes: int = 4320
    organisation_unit: str | None = "Research"
    start_date: date | None = date(2026, 12, 1)

    @classmethod
    def sample(cls) -> Self:
        return cls()


class InvitationMail(Mail):
    name: str | None = "Ann Smith"
    link: str = LINK
    expires_at: datetime = AT
    valid_for_minutes: int = 10080
    invited_by: str = "Dana Admin"
    message: str | None = "Please join us.\nSee you!"

    @classmethod
    def sample(cls) -> Self:
        return cls()


class PasswordChangedMail(Mail):
    name: str = "Ann Smith"
    username: str = "ann.smith"
    changed_at: datetime = AT
    changed_by: str = "Ann Smith"

    @classmethod
    def sample(cls) -> Self:
        return cls()


class ManagerNoticeMail(Mail):
    manager_name: str = "Mo Chief"
    person_name: str = "Ann Smith"
    person_username: str = "ann.smith"
    change: str = "joins"
    effective_at: datetime = AT
    details: list[str] = Field(default_factory=lambda: ["Member of the group Research"])

    @classmethod
    def sample(cls) -> Self:
        return cls()


CONTEXTS: Mapping[str, type[Mail]] = {
    "send_recovery_email": RecoveryMail,
    "send_welcome_email": WelcomeMail,
    "send_invitation": InvitationMail,
    "send_password_changed_email": PasswordChangedMail,
    "send_manager_notice": ManagerNoticeMail,
}
WITH_LINK = ["send_recovery_email", "send_welcome_email", "send_invitation"]


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates([packaged_folder()], organisation="Example & Sons", support="help@example.com", sender_name="Example ID")


def body_of(rendered: Rendered) -> bytes:
    return build_message(
        sender=("Example ID", "muster@example.com"), recipient=("Ann", "ann@example.org"), subject=rendered.subject,
        text=rendered.text, html=rendered.html, message_id=message_id_for("job-1", "id.example.com"), date=AT,
        language=rendered.language,
    )


class Words(HTMLParser):
    """The visible words of a page and the targets of its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self._hidden = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in {"style", "title"}
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_every_folder_is_a_mail_with_a_context_and_nothing_is_wrong(templates: Templates) -> None:
    folders = {path.name for path in packaged_folder().iterdir() if not path.name.startswith("_")}
    assert folders == set(CONTEXTS)
    assert templates.check(CONTEXTS) == []
    assert Templates([packaged_folder()]).check(CONTEXTS) == []  # with nothing set, too


@pytest.mark.parametrize("kind", WITH_LINK)
def test_the_link_stands_once_in_the_text_and_as_button_and_address_in_the_html(templates: Templates, kind: str) -> None:
    rendered = templates.render(kind, CONTEXTS[kind].sample())
    html = Words(rendered.html)
    assert rendered.text.count(TOKEN) == 1
    assert f"\n{LINK}\n" in rendered.text  # on a line of its own, so that mail programs see where it ends
    assert rendered.html.count(TOKEN) == 2
    assert html.links == [LINK]
    assert html.text.count(LINK) == 1
    assert TOKEN not in rendered.subject
    parts = email.message_from_bytes(body_of(rendered), policy=email.policy.default).iter_parts()
    assert [part.get_content().count(TOKEN) for part in parts] == [1, 2]


@pytest.mark.parametrize("kind", CONTEXTS)
def test_the_html_is_valid_small_and_asks_nobody_for_anything(templates: Templates, kind: str) -> None:
    html = templates.render(kind, CONTEXTS[kind].sample()).html
    html5lib.HTMLParser(strict=True).parse(html)
    assert len(html.encode()) < 100_000
    assert html.lstrip().lower().startswith("<!doctype html>")
    for forbidden in ("<img", "<script", "<link", "@import", "url(", "http://", "<picture", "<svg", "data:", "var("):
        assert forbidden not in html
    assert html.count("<h1") == 1
    assert re.search(r"<title>[^<]+</title>", html)
    assert html.count("<table") == html.count('role="presentation"') == 3  # page, sheet, and Outlook's own way to 600 px
    assert html.count("[if mso]") == 2
    assert '<html lang="en" dir="ltr">' in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="supported-color-schemes"' in html
    assert 'class="button"' not in html or re.search(r'class="button"[^>]* style="[^"]*background-color', html)
    sizes = {int(size) for size in re.findall(r"font-size:\s*(\d+)px", html)}
    assert {size for size in sizes if size < 14} <= {1}  # only the hidden preheader


@pytest.mark.parametrize("kind", CONTEXTS)
def test_every_mail_says_who_sent_it_why_and_where_to_ask(templates: Templates, kind: str) -> None:
    rendered = templates.render(kind, CONTEXTS[kind].sample(), zone="Europe/Berlin")
    for text in (" ".join(rendered.text.split()), Words(rendered.html).text):
        assert "You receive this mail because" in text
        assert "Contact help@example.com." in text
        assert "Sent automatically by Example ID for Example & Sons." in text
        assert "Monday, 23 November 2026, 16:04 CET (UTC+01:00)" in text
        assert "please tell help@example.com" in text or "Tell help@example.com at once" in text
    preheader = re.search(r'class="preheader"[^>]*>([^<]+)<', rendered.html)
    assert preheader
    assert preheader[1] != rendered.subject


def test_a_recovery_mail_says_who_asked_when_and_until_when_it_is_valid(templates: Templates) -> None:
    rendered = templates.render("send_recovery_email", RecoveryMail())
    assert rendered.subject == "Set a new password for your Example & Sons account"
    for text in (" ".join(rendered.text.split()), Words(rendered.html).text):
        assert "Asked for by: Dana Admin" in text
        assert "Asked for on: Monday, 23 November 2026, 15:04 UTC" in text
        assert "60 minutes: until Monday, 23 November 2026, 15:04 UTC." in text
        assert "not you?" in text.lower()


def test_what_is_not_known_leaves_no_gap(templates: Templates) -> None:
    welcome = templates.render("send_welcome_email", WelcomeMail(organisation_unit=None, start_date=None))
    assert "Your unit" not in welcome.text + welcome.html
    assert "None" not in welcome.text + welcome.html
    full = templates.render("send_welcome_email", WelcomeMail())
    assert "Your unit: Research\nYour first day: Tuesday, 1 December 2026\n" in full.text
    invitation = templates.render("send_invitation", InvitationMail(name=None, message=None))
    assert invitation.text.startswith("Hello,\n")
    assert "None" not in invitation.text + invitation.html
    notice = templates.render("send_manager_notice", ManagerNoticeMail(details=[]))
    assert "What was done" not in notice.text + notice.html
    for rendered in (welcome, invitation, notice, full):
        assert "\n\n\n" not in rendered.text
        assert max(len(line) for line in rendered.text.splitlines() if TOKEN not in line) <= 90


@pytest.mark.parametrize(
    ("change", "subject"),
    [("joins", "Ann Smith joins your team"), ("leaves", "Ann Smith leaves"), ("moves", "Ann Smith changes position"),
     ("other", "A change for Ann Smith")],
)
def test_a_manager_reads_what_changes(templates: Templates, change: str, subject: str) -> None:
    rendered = templates.render("send_manager_notice", ManagerNoticeMail(change=change))
    assert rendered.subject == subject
    assert "Ann Smith (ann.smith)" in rendered.text
    assert "- Member of the group Research\n" in rendered.text


HOSTILE = [
    "<script>alert(1)</script>", '"><a href="https://evil.example">click</a>', "{{ link }}{% raw %}", "Ann\r\n\r\nNot you? Call 1",
    "\u202egnp.exe", "محمد علي", "=?utf-8?q?x=0D=0ABcc=3A_evil=40x.y?=", "A" * 300, "😀" * 60, "Ann\x00\x08", "O'Neil & Sons, \"Ltd\"",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", CONTEXTS)
def test_a_hostile_name_stays_a_name(templates: Templates, kind: str, name: str) -> None:
    sample = CONTEXTS[kind].sample()
    texts = {field for field, value in sample if isinstance(value, str) and field not in {"link", "change"}}
    hostile = sample.model_copy(update=dict.fromkeys(texts, name))
    rendered, usual = templates.render(kind, hostile), templates.render(kind, sample)
    html5lib.HTMLParser(strict=True).parse(rendered.html)
    assert Words(rendered.html).links == Words(usual.html).links
    assert re.findall(r"<[a-z]+", rendered.html) == re.findall(r"<[a-z]+", usual.html)
    assert rendered.subject.isprintable() or "\u2068" in rendered.subject
    assert not set(rendered.text + rendered.html) & set("\u202e\x00\x08\r")
    if kind != "send_invitation":  # whose message may have lines of its own
        assert len(rendered.text.splitlines()) == len(usual.text.splitlines())
    if "محمد" in name:
        assert "\u2068محمد علي\u2069" in rendered.text
    parsed = email.message_from_bytes(body_of(rendered), policy=email.policy.default)
    assert parsed["Subject"] == rendered.subject
    assert not parsed["Bcc"]
    assert [found.addr_spec for found in parsed["To"].addresses] == ["ann@example.org"]


def test_the_same_mail_is_the_same_bytes() -> None:
    first, second = (
        body_of(Templates([packaged_folder()]).render("send_recovery_email", RecoveryMail())) for _ in range(2)
    )
    assert first == second
