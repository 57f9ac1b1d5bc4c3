"""Every page for people, with names that attack it, in both themes, on a desk and on a phone: readable, whole and unharmed."""

from collections.abc import Callable, Iterator

import pytest
from chromium import Browser
from fastapi.routing import APIRoute, iter_route_contexts
from hr import DECLARED
from upstairs import Upstairs

from worker import front
from worker.web.gate import rules_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HOSTILE = "<img src=x onerror=document.title='harmed'>\"'><script>document.title='harmed'</script>"
#: What stands for the parts of a path; what has a part that is not here is not a page of its own.
PARTS = {"tab": ("sessions", "groups", "events", "consents", "tokens", "mfa", "permissions"), "kind": ("create_user", "delete_user")}
# Not pages: files, pieces of pages, downloads, and mails that are shown in a frame.
NO_PAGES = (".css", "static", "standing", "failed-rows", "done", "live", "story", "frame", "preview")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstairs]:
    """A running Muster whose people, groups, jobs, plans and cases have hostile names."""
    with Upstairs(tmp_path_factory.mktemp("up"), config=DECLARED) as running:
        running.done("create_group", {"group": HOSTILE})
        running.done("create_group", {"group": "staff"})
        running.done("create_group", {"group": "sales"})
        running.done("create_user", {"username": "hostile", "name": HOSTILE, "email": "h@example.com",
                                     "attributes": {HOSTILE: HOSTILE}})  # fmt: skip
        running.done("add_to_group", {"user": "hostile", "group": HOSTILE}, why=HOSTILE)
        running.done("lock_user", {"user": "hostile", "owner": HOSTILE, "reason": HOSTILE}, why=HOSTILE, on_behalf_of=HOSTILE)
        running.ask("add_to_group", {"user": HOSTILE, "group": HOSTILE}, key="<b>key</b>", source="<i>source</i>")
        (running.folder / "people.csv").write_text(
            "id,first,last,status,start,end,reason,boss,zone,department\n"
            f'1,"{HOSTILE.replace(chr(34), chr(34) * 2)}",Last,Active,,,,,,Sales\n'
            f'2,First,Last,Active,"{HOSTILE.replace(chr(34), chr(34) * 2)}",,,,,Sales\n'
        )
        running.muster("feed", "plan", "hr", "people.csv")
        yield running


def pages(up: Upstairs) -> list[str]:
    """Every page for people that the router knows."""
    [user] = up.office.rows("users", username="hostile")
    [run] = up.office.rows("feed_run")
    job = up.office.jobs("add_to_group")[-1]
    known: dict[str, tuple[str, ...]] = {
        **PARTS, "person": (user["id"],), "job_id": (job["id"],), "name": (run["id"],), "token": ("x" * 43,),
    }  # fmt: skip
    found: list[str] = []
    for context in iter_route_contexts(front.build(up.office.app).routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or "GET" not in (route.methods or ()) or any(part in route.path for part in NO_PAGES):
            continue
        doors = {rule.door for rule in rules_of(route)}
        if "session" in doors or route.path.startswith(("/recover", "/invite", "/docs")):
            found += paths(route.path_format, known)
    assert len(found) > 20
    return [path.replace(f"groups/{run['id']}", "groups/staff") for path in found]


def paths(pattern: str, known: dict[str, tuple[str, ...]]) -> list[str]:
    found = [pattern]
    for name, values in known.items():
        found = [path.replace("{" + name + "}", value) for path in found for value in (values if "{" + name + "}" in path else ("",))]
    return [path for path in found if "{" not in path]


def test_every_page_is_whole(up: Upstairs, open_browser: Callable[[str], Browser]) -> None:
    browser = open_browser(up.url)
    browser.go("/")
    browser.write("token", up.token("boss", "admin"))
    browser.press("Sign in")
    browser.wait_for("boss")
    wrong: list[str] = []
    for path in pages(up):
        for theme, width in (("light", 1280), ("dark", 375)):
            browser.window(width, 900, "light" if theme == "light" else "dark")
            browser.go(path)
            found = [f"too wide by {browser.too_wide()}"] if browser.too_wide() else []
            found += browser.violations()
            found += [said for said in browser.complaints() if "status of 4" not in said]
            if "harmed" in browser.driver.title:
                found.append("a script of a name ran")
            wrong += [f"{path}, {theme}, {width} px: {what}" for what in found]
    assert not wrong, "\n" + "\n".join(wrong)
