"""`muster groups`: look at groups."""

import click

from worker.cli import desk
from worker.screen import card, print_json, say, table


@click.group()
def groups() -> None:
    """Look at groups; jobs change them."""


@groups.command("list")
@click.option("--search", metavar="TEXT", help="Only with this in the name.")
@desk.limit_option(50)
@click.option("--after", metavar="NAME", help="The page after the one that ended with this group.")
@desk.json_option
def list_(search: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """List groups by name."""
    from worker import listing

    with desk.opened(looking=True) as app, app.database.read() as conn:
        rows = listing.group_list(conn, limit=limit, search=search, after=after)
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = [(row["name"], row["members"], row["parents"]) for row in rows]
    table(("group", "direct members", "below"), lines, right=("direct members",), empty="There are no such groups.")
    if len(rows) == limit:
        say(f"\nThere may be more: --after '{rows[-1]['name']}', or a larger --limit.")


@groups.command()
@click.argument("name", metavar="GROUP")
@desk.json_option
def show(name: str, as_json: bool) -> None:
    """Show a group: its place in the tree, its permissions and its members."""
    from worker import listing
    from worker.directory.groups import find
    from worker.scope import Scope

    with desk.opened(looking=True) as app, app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        [found] = find(scope, [name], lock=False)
        if found is None:
            raise desk.NoSuchJob(f"There is no group {name}. `muster groups list` shows those there are.")
        page = listing.group_page(scope, found)
    if as_json:
        print_json(page)
        return
    say(page["name"])
    say()
    card({
        "id": page["id"], "below": page["parents"], "above": page["children"], "attributes": page["attributes"],
        "members": f"{page['member_count']}, {page['direct_member_count']} of them directly",
    })  # fmt: skip
    if page["permissions"]:
        table(("permission", "on"), [(one["permission"], one["object"] or "everything") for one in page["permissions"]],
              title="Permissions")  # fmt: skip
    if page["members"]:
        rows = [
            (one["username"], "active" if one["is_active"] else "inactive", "directly" if one["direct"] else "inherited")
            for one in page["members"]
        ]
        table(("member", "is", "how"), rows, title="Members")
        if page["member_count"] > len(rows):
            say(f"\nand {page['member_count'] - len(rows)} more.")
