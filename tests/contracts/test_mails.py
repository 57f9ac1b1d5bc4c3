"""Every mail of the jobs has a sample and templates, renders without anything missing, and no template is left over."""

from pathlib import Path

import pytest
from stage import KINDS

from worker.app import load_jobs
from worker.mail.render import PARTS, Mail, TemplateProblem, Templates, packaged_folder
from worker.mail.samples import mail_classes

MAILS = mail_classes(load_jobs(("actors",)))

every_mail = pytest.mark.parametrize("kind", sorted(MAILS))


def test_every_job_that_sends_has_a_mail() -> None:
    assert set(MAILS) == {kind.name for kind in KINDS if kind.policy.queue == "mail"}
    assert MAILS


def test_every_mail_has_a_folder_of_templates_and_none_is_left_over() -> None:
    folders = {path.name: {file.name for file in path.iterdir()} for path in packaged_folder().iterdir()}
    shared = {name for name in folders if name.startswith("_")}
    assert set(folders) - shared == set(MAILS)
    for name in MAILS:
        assert folders[name] == set(PARTS), name


@every_mail
def test_a_mail_renders_its_sample(kind: str) -> None:
    sample = MAILS[kind].sample()
    assert isinstance(sample, Mail)
    templates = Templates((packaged_folder(),))
    rendered = templates.render(kind, sample)
    assert rendered.subject
    assert rendered.text.strip()
    assert rendered.html.lstrip().lower().startswith("<!doctype html")
    for part in (rendered.subject, rendered.text, rendered.html):
        assert "{{" not in part
        assert "{%" not in part
        assert "None" not in part


def test_doctor_has_nothing_to_say() -> None:
    assert Templates((packaged_folder(),)).check(MAILS) == []


@every_mail
@pytest.mark.parametrize("part", PARTS)
def test_a_name_that_a_mail_does_not_have_is_an_error(kind: str, part: str, tmp_path: Path) -> None:
    """A slip in a template is found by its sample, in whichever part, not by the person who gets half a mail."""
    own = tmp_path / kind / part
    own.parent.mkdir()
    own.write_text("Hello {{ nmae }}", "utf-8")
    with pytest.raises(TemplateProblem, match="nmae"):
        Templates((tmp_path, packaged_folder())).render(kind, MAILS[kind].sample())
