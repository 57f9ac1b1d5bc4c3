"""Every page people see: in their language, readable by all, safe from hostile names, and telling nobody of its link."""

import re
import tomllib
from pathlib import Path
from string import Formatter

import httpx
import pytest
from doors import Doors, doors_of
from entrance import Entrance, parsed, said
from fastapi.routing import iter_route_contexts
from office import SECRET

from worker import front
from worker.app import App
from worker.mail import wording
from worker.selfservice import pages, words
from worker.selfservice.forgotten import _network
from worker.settings import Settings
from worker.web.gate import rules_of

# What a page of ours may hold; anything else would be loaded, run or sent from elsewhere.
ELEMENTS = frozenset({
    "html", "head", "meta", "title", "link", "body", "header", "main", "footer", "h1", "h2", "p", "bdi", "form", "div", "label",
    "input", "button", "ul", "li", "a",
})  # fmt: skip
HOSTILE = [
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onfocus='alert(1)", "{{ 7 * 7 }} {0} {support}", "&lt;b&gt;",
    "x" * 255, "أحمد \u202eevil", "Zoë & Søn 🙂",
]  # fmt: skip


def invited(entrance: Entrance, **fields: str) -> str:
    entrance.office.do("send_invitation", {"email": "dora@example.com", **fields})
    return entrance.token("invite")


def every_page(entrance: Entrance, language: str = "en") -> list[httpx.Response]:
    """One of each page."""
    recovery, welcome, invitation = entrance.link("bob"), entrance.link("bob", "welcome"), invited(entrance, name="Dora Diaz")
    lang = f"?lang={language}"
    slips = {"who": " ", "username": "ann", "password": "short", "repeat": ""}
    return [
        *(entrance.get(f"{path}{lang}") for path in (
            "/recover", "/recover/sent", "/recover/done", "/recover/x", "/invite/x", "/invite/done",
            f"/recover/{recovery}", f"/recover/{welcome}", f"/invite/{invitation}")),
        *(entrance.post(f"{path}{lang}", slips) for path in ("/recover", f"/recover/{recovery}", f"/invite/{invitation}")),
        entrance.post(f"/recover{lang}", {"who": "ann"}, **{"Sec-Fetch-Site": "cross-site"}),
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ar"])
def test_every_page_is_sound_html_in_its_language(shared: Entrance, language: str) -> None:
    answers = every_page(shared, language)
    for answer in answers:
        tree = parsed(answer)
        assert (tree.get("lang"), tree.get("dir")) == (language, wording.direction(language))
        assert {one.tag for one in tree.iter()} <= ELEMENTS
        assert len(tree.findall(".//h1")) == 1
        labelled = {one.get("for") for one in tree.findall(".//label")}
        ids = [one.get("id") for one in tree.iter() if one.get("id")]
        assert len(ids) == len(set(ids))
        for field in tree.findall(".//input"):
            if field.get("hidden") is None:
                assert field.get("id") in labelled
                assert field.get("autocomplete")
            assert field.get("placeholder") is None
            assert set((field.get("aria-describedby") or "").split()) <= set(ids)
        assert len(tree.findall(".//*[@role='alert']")) == (answer.status_code == 422)
        assert "{" not in said(answer)
    assert len({said(answer) for answer in answers}) >= 12


def test_no_page_loads_runs_or_tells_anything(shared: Entrance) -> None:
    token = shared.link("bob")
    for answer in (*every_page(shared), shared.get(f"/recover/{token}"), shared.get("/recover/page.css")):
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'", "style-src": "'self'", "img-src": "'self'", "form-action": "'self'",
            "frame-ancestors": "'none'", "base-uri": "'none'",
        }  # fmt: skip
        assert "set-cookie" not in answer.headers
        assert "://" not in answer.text, "no address of another host"
        assert token not in answer.text, "the form goes to where it came from"
        if answer.headers["content-type"].startswith("text/html"):
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"\sstyle=|\son\w+=|javascript:", answer.text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_stay_names(shared: Entrance, hostile: str) -> None:
    token = invited(shared, name=re.sub("[\u202e]", "", hostile), invited_by=hostile)
    for answer in (shared.get(f"/invite/{token}"), shared.accept(token, username=hostile, name=hostile, password="x")):
        tree = parsed(answer)
        assert {one.tag for one in tree.iter()} <= ELEMENTS
        assert not [name for one in tree.iter() for name in one.keys() if name.startswith("on")]  # noqa: SIM118 (an element's attributes)
        inviter = tree.find(".//main/p/bdi")
        assert inviter is not None
        assert "".join(inviter.itertext()) == wording.harmless(hostile)
        assert "\u202e" not in answer.text


def test_the_persons_language_comes_before_the_browsers_and_the_settings(shared: Entrance) -> None:
    def language(path: str, accept: str = "") -> str:
        return str(parsed(shared.get(path, **{"Accept-Language": accept})).get("lang"))

    shared.office.do("update_user", {"user": "bob", "locale": "de-AT", "zone": "Europe/Vienna"})
    token = shared.link("bob")
    assert language(f"/recover/{token}", "fr") == "de"
    assert "bis 2026-03-02 11:00 CET" in said(shared.get(f"/recover/{token}"))
    assert shared.choose(token).headers["location"] == "/recover/done?lang=de"
    assert language("/recover", "xx, fr-CA;q=0.8, de;q=0.9") == "de"
    assert language("/recover", "pl") == language("/recover", "*") == language("/recover", "de;q=0, x;q=y") == "en"
    assert language("/recover?lang=../../etc/passwd") == "en"
    shared.office.do("update_user", {"user": "bob", "locale": "pt-BR"})
    assert language(f"/recover/{shared.link('bob')}", "es") == "es"


def test_an_operator_says_things_otherwise_and_adds_a_language(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / words.OWN_FOLDER
    folder.mkdir()
    (folder / "en.toml").write_text('[recover]\ntitle = "A new key for the door"\n')
    (folder / "pl.toml").write_text((words.PACKAGED / "en.toml").read_text().replace("Set a new password", "Ustaw nowe hasło"))
    (folder / "it.toml").write_text('[recover]\ntitle = "Nuova password"\n')
    (folder / "de.toml").write_text('[recover]\ntitle = "{nobody}"\n')
    (folder / "fr.toml").write_text("this is = = no toml")
    found = words.load(tmp_path)
    assert found.say("en", "recover.title", {}) == "A new key for the door"
    assert found.say("pl", "recover.title", {}) == "Ustaw nowe hasło"
    assert found.choose(["it", "pl-PL"]) == "pl"
    assert found.say("de", "recover.title", {}) == "Neues Passwort setzen"
    assert found.say("fr", "recover.button", {}) == "Définir le mot de passe"
    assert [record.message for record in caplog.records] == [
        "selfservice.language_left_out", "selfservice.language_unreadable", "selfservice.language_left_out",
    ]  # fmt: skip


def test_all_languages_say_the_same_things() -> None:
    def read(path: Path) -> dict[str, set[str]]:
        return {
            f"{section}.{name}": {brace for _, brace, _, _ in Formatter().parse(text) if brace}
            for section, texts in tomllib.loads(path.read_text(encoding="utf-8")).items() for name, text in texts.items()
        }  # fmt: skip

    english, *others = (read(path) for path in sorted(words.PACKAGED.glob("*.toml"), key=lambda path: path.stem != "en"))
    assert len(others) >= 4
    for other in others:
        assert other == english


def test_colours_stand_apart_in_both_themes() -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: text 4.5 to 1, edges of fields 3 to 1."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in pages.STYLE.read_text().split("@media (prefers-color-scheme: dark)")[:2]
    )
    text = [("text", "sheet"), ("quiet", "sheet"), ("quiet", "ground"), ("link", "sheet"), ("bad", "sheet"), ("bad", "bad-ground"),
            ("text", "bad-ground"), ("on-action", "action"), ("on-action", "action-over")]  # fmt: skip
    for theme in (light, dark):
        assert [pair for pair in text if _contrast(theme[pair[0]], theme[pair[1]]) < 4.5] == []
        assert [pair for pair in (("edge", "sheet"), ("bad", "sheet")) if _contrast(theme[pair[0]], theme[pair[1]]) < 3] == []


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_when_the_database_is_away_people_read_so(tmp_path: Path) -> None:
    app = App(Settings(database_url="postgresql://nobody@127.0.0.1:1/nothing", secret_key=SECRET))
    try:
        with front.serving(app, front.listen("127.0.0.1:0")) as url:
            answer = httpx.get(f"{url}/recover/{'x' * 43}", headers={"Accept-Language": "de"}, timeout=30)
    finally:
        app.close()
    assert answer.status_code == 503
    assert "Es wurde nichts geändert" in said(answer)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")


def test_every_page_is_for_everybody(doors: Doors) -> None:
    routes = iter_route_contexts(front.build(doors.office.app).routes)
    ours = [route for route in routes if (route.path or "").startswith(("/recover", "/invite"))]
    assert len(ours) >= 10
    assert {rule.door for route in ours for rule in rules_of(route)} == {"open"}
    assert all(rules_of(route) for route in ours)


def test_below_a_folder_the_pages_find_each_other(shared: Entrance) -> None:
    app: App = shared.office.app
    app.settings = shared.office.settings.model_copy(update={"public_url": "https://id.example.org/people"})
    try:
        with doors_of(shared.office) as doors:
            there = Entrance(doors, shared.folder)
            dead = there.get("/recover/x").text
            assert 'href="/people/recover?lang=en"' in dead
            assert 'href="/people/recover/page.css?' in dead
            assert there.choose(there.link("bob")).headers["location"] == "/people/recover/done?lang=en"
            own = there.choose(there.link("bob"), "a password from the proxy", Origin="https://id.example.org")
            assert own.status_code == 303
    finally:
        app.settings = shared.office.settings


@pytest.mark.parametrize(("source", "counted"), [
    ("203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"), ("unknown", "unknown"),
])
def test_an_ipv6_network_counts_as_one_source(source: str, counted: str) -> None:
    assert _network(source) == counted
