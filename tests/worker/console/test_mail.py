"""Mails in the console: every template previewed, in every language, at both widths, and unable to do harm."""

from pathlib import Path
from typing import Any

import pytest
from sheet import Sheet

from worker.mail.render import packaged_folder
from worker.mail.samples import languages, mail_classes


@pytest.fixture(scope="module")
def kinds(desk: Any) -> list[str]:
    """The mails there are."""
    return list(mail_classes(desk.office.app.registry))


def test_every_mail_is_listed_with_its_subject(desk: Any, kinds: list[str]) -> None:
    page = Sheet(desk.browser("look").get("/console/mail"))
    assert [link for link in page.links() if "/mail/" in link] == [f"/console/mail/{kind}" for kind in kinds]
    assert len(kinds) >= 5
    assert "Set a new password" in page.text


def test_every_mail_is_shown_at_both_widths_and_as_text(desk: Any, kinds: list[str]) -> None:
    browser = desk.browser("look")
    for kind in kinds:
        page = Sheet(browser.get(f"/console/mail/{kind}"))
        frames = list(page.root.iter("iframe"))
        assert [frame.get("width") for frame in frames] == ["600", "320"]
        assert {frame.get("sandbox") for frame in frames} == {""}
        text = "".join(next(page.root.iter("pre")).itertext())
        assert len(text) > 100
        mail = browser.get(str(frames[0].get("src")))
        assert mail.status_code == 200
        assert "<html" in mail.text


def test_a_mail_in_its_frame_can_do_nothing(desk: Any) -> None:
    answer = desk.browser("look").get("/console/mail/send_recovery_email/html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy.split("; ")
    assert "frame-ancestors 'self'" in policy
    assert "script" not in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_a_preview_is_for_those_who_are_signed_in(desk: Any) -> None:
    assert desk.browser().get("/console/mail/send_recovery_email/html").status_code == 303


@pytest.mark.parametrize("path", ["no_such", "no_such/html", "_frame", "_frame/html", "..%2f..%2fetc", "create_user"])
def test_what_is_no_mail_is_not_there(desk: Any, path: str) -> None:
    assert desk.browser("look").get(f"/console/mail/{path}").status_code == 404


def test_an_unknown_language_is_that_of_the_package(desk: Any) -> None:
    browser = desk.browser("look")
    for lang in ("xx", "../../etc", "<script>", ""):
        page = Sheet(browser.get("/console/mail/send_recovery_email", params={"lang": lang}))
        assert "language en" in page.text


def test_templates_of_ones_own_are_shown_in_each_language_and_a_broken_one_says_so(open_desk: Any, tmp_path: Path) -> None:
    own = tmp_path / "send_recovery_email"
    own.mkdir()
    (own / "subject.de.txt").write_text("Neues Passwort f\u00fcr {{ username }}")
    (own / "body.de.txt").write_text("Hallo {{ name }}: {{ link }}")
    (own / "body.de.html").write_text('<p>Hallo {{ name }}</p><script>alert(1)</script><a href="{{ link }}">hier</a>')
    (own / "body.fr.html").write_text("alone, so it is no language")
    broken = tmp_path / "send_welcome_email"
    broken.mkdir()
    (broken / "subject.txt").write_text("{{ no_such_value }} <script>")
    browser = open_desk(templates=tmp_path).browser("look")
    assert languages([tmp_path, packaged_folder()], "send_recovery_email") == ["en", "de"]
    page = Sheet(browser.get("/console/mail/send_recovery_email?lang=de"))
    assert "Neues Passwort f\u00fcr ann" in page.text
    assert [link for link in page.links() if "lang=" in link and "/html" not in link] == [
        "/console/mail/send_recovery_email?lang=en", "/console/mail/send_recovery_email?lang=de"
    ]  # fmt: skip
    assert "Hallo Ann Archer" in browser.get("/console/mail/send_recovery_email/html?lang=de").text
    answer = browser.get("/console/mail/send_welcome_email")
    assert answer.status_code == 422
    assert "no_such_value" in Sheet(answer).text
    assert browser.get("/console/mail/send_welcome_email/html").status_code == 422
    assert "broken" in Sheet(browser.get("/console/mail")).text
