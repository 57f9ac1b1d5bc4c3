"""Draws a person's page on the terminal, for `muster users show` and for the demo."""

from collections.abc import Mapping
from typing import Any

from worker.screen import card, harmless, say, table


def show_user(page: Mapping[str, Any]) -> None:
    """Print a person: overview, groups, permissions, credentials and the latest events."""
    say(harmless(f"{page['name'] or page['username']} ({page['username']})"))
    say()
    card({
        "id": page["id"], "external id": page["external_id"], "e-mail": page["email"], "is": _standing(page),
        "path": page["path"], "type": page["type"], "manager": page["manager"], "attributes": page["attributes"],
        "language": page["locale"], "time zone": page["zone"], "works": _span(page),
        "password": "set" if page["has_password"] else "none yet", "last login": page["last_login_at"],
        "created": page["created_at"], "changed": f"{page['updated_at']:%Y-%m-%d %H:%M:%S}, version {page['version']}",
    })  # fmt: skip
    table(("group", "how", "by"), [(one["group"], _way(one), one["origin"]) for one in page["groups"]],
          title="Groups", empty="None.")  # fmt: skip
    permissions = [(one["permission"], one["object"] or "everything", one["via"] or "directly") for one in page["permissions"]]
    table(("permission", "on", "through"), permissions, title="Permissions", empty="None.")
    _credentials(page)
    if page["open_jobs"]:
        jobs = [(one["id"][:18], one["kind"], one["state"], one["run_at"]) for one in page["open_jobs"]]
        table(("job", "kind", "state", "due"), jobs, title="Jobs to come", whole=("job", "due"))
    events = [(one["at"], one["action"], one["actor"], one["data"]) for one in page["events"]]
    table(("at", "event", "by", "with"), events, title="Events", whole=("at", "event"), empty="None.")


def _standing(page: Mapping[str, Any]) -> str:
    words = ["active" if page["is_active"] else "inactive"]
    if page["lock"]:
        words.append(f"locked by {page['lock']['owner']} ({page['lock']['reason']})")
    if page["hold"]:
        words.append(f"on legal hold by {page['hold']['owner']} ({page['hold']['reason']})")
    if page["delete_at"]:
        words.append(f"to be deleted on {page['delete_at']:%Y-%m-%d %H:%M}")
    return ", ".join(words)


def _span(page: Mapping[str, Any]) -> str:
    start, end = page["start_date"], page["end_date"]
    return " ".join([f"from {start}" if start else "", f"until {end}" if end else ""]).strip()


def _way(one: Mapping[str, Any]) -> str:
    return "directly" if one["via"] == one["group"] else f"through {one['via']}"


def _credentials(page: Mapping[str, Any]) -> None:
    """Print what lets the person in, a line each; sections without any are one line together."""
    sections = {
        "Sessions": ("sessions", ("ip", "user_agent", "created_at", "last_used_at")),
        "Refresh tokens": ("refresh_tokens", ("application", "created_at", "expires_at")),
        "Consents": ("consents", ("application", "scopes", "created_at")),
        "MFA devices": ("mfa_devices", ("type", "name", "confirmed_at")),
    }
    none: list[str] = []
    for title, (name, columns) in sections.items():
        rows = page[name]
        if not rows:
            none.append(title[0].lower() + title[1:] if none and not title.startswith("MFA") else title)
            continue
        headings = (*(column.replace("_", " ").removesuffix(" at") for column in columns), "usable")
        table(headings, [(*(row[column] for column in columns), row["usable"]) for row in rows], title=title)
    if none:
        say()
        say(f"{', '.join(none)}: none.")
