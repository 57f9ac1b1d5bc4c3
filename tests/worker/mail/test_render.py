"""Templates: strict about mistakes, open to an operator's own, closed to tricks."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import ValidationError

from worker.mail.render import Mail, TemplateProblem, Templates, packaged_folder


class NoteMail(Mail):
    """A mail for these tests."""

    name: str
    link: str = "https://id.example.com/go/abc?a=1&b=2"
    lines: tuple[str, ...] = ()
    at: datetime = datetime(2026, 11, 23, 15, 4, tzinfo=UTC)

    @classmethod
    def sample(cls) -> Self:
        return cls(name="Ann Smith")


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    return write(tmp_path / "packaged", {
        "note/subject.txt": "Hello\n  {{ name }}\n",
        "note/body.txt": "Hi {{ name }}\n\n\n\n{{ link }}   \n",
        "note/body.html": "{% block all %}<html><head><style>p { color: red } @media print { p { color: blue } }</style>"
        '<link rel="stylesheet" href="http://127.0.0.1:9/x.css"></head>'
        '<body><p>Hi {{ name }}</p><a href="{{ link }}">{{ link }}</a></body></html>{% endblock %}',
    })


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_html_is_escaped_and_text_and_subject_are_not(packaged: Path) -> None:
    found = Templates([packaged]).render("note", NoteMail(name="Smith & <Sons>"))
    assert found.subject == "Hello Smith & <Sons>"
    assert found.text == "Hi Smith & <Sons>\n\nhttps://id.example.com/go/abc?a=1&b=2\n"
    assert "Hi Smith &amp; &lt;Sons&gt;</p>" in found.html
    assert 'href="https://id.example.com/go/abc?a=1&amp;b=2"' in found.html
    assert found.language == "en"


def test_styles_move_into_the_tags_and_nothing_is_fetched(packaged: Path) -> None:
    html = Templates([packaged]).render("note", NoteMail(name="Ann")).html
    assert '<p style="color: red;">' in html.replace("color:red", "color: red")
    assert "@media print" in html


@pytest.mark.parametrize("name", ["Ann\r\nBcc: x@y.z", "Ann\u2028Bcc: x@y.z", "Ann\x85Bcc: x@y.z", "Ann\x00\x1b[0m"])
def test_a_subject_is_one_line_without_control_characters(packaged: Path, name: str) -> None:
    subject = Templates([packaged]).render("note", NoteMail(name=name)).subject
    assert subject.isprintable()
    assert len(subject.splitlines()) == 1


def test_an_unknown_value_is_an_error_and_never_an_empty_place(packaged: Path) -> None:
    write(packaged, {"note/body.txt": "Hi {{ nam }}"})
    with pytest.raises(TemplateProblem, match=r"note/body.txt: UndefinedError: 'nam' is undefined"):
        Templates([packaged]).render("note", NoteMail(name="Ann"))


def test_an_operators_file_comes_before_the_packaged_one(packaged: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "own", {"note/subject.txt": "{{ organisation }}: {{ name }} ({{ support }}, {{ sender_name }})"})
    templates = Templates([own, packaged], organisation="ACME", support="+49 1", sender_name="ACME Login")
    found = templates.render("note", NoteMail(name="Ann"))
    assert found.subject == "ACME: Ann (+49 1, ACME Login)"
    assert found.text.startswith("Hi Ann")


def test_an_operators_file_can_build_on_the_packaged_one_of_the_same_name(packaged: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "own", {
        "note/body.html": '{% extends "!note/body.html" %}{% block all %}{{ super() }}<p>Ours</p>{% endblock %}',
    })
    html = Templates([own, packaged]).render("note", NoteMail(name="Ann")).html
    assert "Hi Ann" in html
    assert "Ours" in html


def test_a_language_of_its_own_sets_lang_and_direction(packaged: Path, tmp_path: Path) -> None:
    write(packaged, {"note/body.html": '<html lang="{{ lang }}" dir="{{ dir }}"><body>{{ at|moment }}</body></html>'})
    own = write(tmp_path / "own", {"note/subject.ar.txt": "مرحبا", "note/body.ar.txt": "مرحبا", "note/subject.de.txt": "Hallo"})
    write(own, {"note/body.ar.html": '<html lang="{{ lang }}" dir="{{ dir }}"><body>{{ at|moment }}</body></html>'})
    templates = Templates([own, packaged])
    arabic = templates.render("note", NoteMail(name="Ann"), locale="ar_EG.UTF-8", zone="Africa/Cairo")
    assert (arabic.language, arabic.subject) == ("ar", "مرحبا")
    assert '<html lang="ar" dir="rtl">' in arabic.html
    assert "2026-11-23 17:04 EET (UTC+02:00)" in arabic.html
    for locale in ("de", "he", "", "xx-YY", "en-US"):  # German is not complete, so it is not used at all
        found = templates.render("note", NoteMail(name="Ann"), locale=locale)
        assert (found.language, found.subject) == ("en", "Hello Ann")
        assert '<html lang="en" dir="ltr">' in found.html


@pytest.mark.parametrize(
    "trick", ["{{ name.__class__.__mro__ }}", "{{ lines.append('x') }}", "{{ ''.format.__globals__ }}", "{% include '/etc/passwd' %}",
              "{% include '../secret.txt' %}", "{{ cycler.__init__.__globals__ }}"],
)
def test_a_template_cannot_reach_beyond_its_values(packaged: Path, tmp_path: Path, trick: str) -> None:
    write(tmp_path, {"secret.txt": "secret"})
    write(packaged, {"note/body.txt": trick})
    with pytest.raises(TemplateProblem):
        Templates([packaged]).render("note", NoteMail(name="Ann"))


def test_a_mistake_in_a_template_does_not_show_the_link(packaged: Path) -> None:
    write(packaged, {"note/body.txt": "{{ 1 + (link|int(default=link)) }}{{ link * link }}", "note/subject.txt": "{{ '%d'|format(link) }}{{ [link].index(1) }}"})
    for part in ("subject", "body"):
        if part == "body":
            write(packaged, {"note/subject.txt": "x"})
        with pytest.raises(TemplateProblem) as caught:
            Templates([packaged]).render("note", NoteMail(name="Ann"))
        assert "id.example.com/go" not in str(caught.value)


def test_the_check_names_every_mistake_in_a_sentence(packaged: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "own", {
        "note/body.html": "<p>{{ name }</p>",
        "nota/body.txt": "typing error",
        "note/subject.fr.txt": "{% if %}",
        "_frame/readme.txt": "used by others",
    })
    (own / "note" / "notes.md").write_text("not a template")
    (own / "note" / "latin.txt").write_bytes(b"caf\xe9")
    problems = Templates([own, packaged, tmp_path / "nowhere"]).check({"note": NoteMail, "other": NoteMail})
    text = "\n".join(problems)
    assert f"{own}/note/body.html, line 1: " in text
    assert f"{own}/nota/body.txt: no mail is called nota" in text
    assert f"{own}/note/subject.fr.txt, line 1: " in text
    assert "latin.txt: cannot be read as UTF-8" in text
    assert "nowhere does not exist" in text
    assert "other/subject.txt: the template other/subject.txt does not exist." in text
    assert "readme" not in text
    assert all(problem.endswith(".") for problem in problems)
    assert Templates([packaged]).check({"note": NoteMail}) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"note/subject.txt": ""}, "the subject has 0 characters"),
        ({"note/subject.txt": "x" * 79}, "the subject has 79 characters"),
        ({"note/body.txt": "no link"}, "holds the link 0 times"),
        ({"note/body.txt": "{{ link }} {{ link }}"}, "holds the link 2 times"),
        ({"note/body.html": "<p>{{ link }}</p>"}, "holds no link"),
        ({"note/body.html": '<a href="{{ link }}">{{ "x" * 100000 }}</a>'}, "longer than 100000 bytes"),
        ({"note/body.html": "{% if name == 'Ann Smith' %}{{ missing }}{% endif %}"}, "'missing' is undefined"),
    ],
)
def test_the_check_reads_every_mail_as_its_reader_would(packaged: Path, files: dict[str, str], complaint: str) -> None:
    write(packaged, files)
    (problem,) = Templates([packaged]).check({"note": NoteMail})
    assert complaint in problem


def test_a_mail_holds_plain_values_only_and_cannot_be_changed() -> None:
    mail = NoteMail.sample()
    with pytest.raises(ValidationError):
        setattr(mail, "name", "Bob")  # noqa: B010 mypy sees that it cannot work
    unknown: dict[str, Any] = {"name": "Ann", "token": "x"}
    with pytest.raises(ValidationError):
        NoteMail(**unknown)
    with pytest.raises(TypeError, match="plain values only"):
        type("BadMail", (Mail,), {"__annotations__": {"user": dict[str, str]}})
    with pytest.raises(TypeError, match="already"):
        type("BadMail", (Mail,), {"__annotations__": {"lang": str}})
    with pytest.raises(TypeError, match="sample"):
        Mail.sample()


def test_many_threads_may_use_the_same_templates(packaged: Path) -> None:
    templates, found = Templates([packaged]), []

    def work(number: int) -> None:
        for _ in range(50):
            rendered = templates.render("note", NoteMail(name=f"Ann {number}"))
            found.append(rendered.html.count(f"Hi Ann {number}<"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 200


def test_the_packaged_folder_is_found() -> None:
    assert (packaged_folder() / "_frame" / "body.html").is_file()
