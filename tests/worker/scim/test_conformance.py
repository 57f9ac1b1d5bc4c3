"""scim2-tester finds nothing to complain about: at the doors of an office, and at a whole `muster up`."""

from pathlib import Path

import httpx
from doors import Doors
from scim2_tester import Status, check_server
from scim_client import ScimClient, Wire
from upstairs import Upstairs

from worker import api_tokens

CHECKS = 135
"""What version 0.5.2 looks at in a server with users, the enterprise extension and groups."""


def complaints(client: httpx.Client) -> list[str]:
    """What scim2-tester finds wrong; it must have looked at everything."""
    results = check_server(Wire(client))
    assert len(results) >= CHECKS, "it has overlooked something"
    return [
        f"{one.status.name} {one.title} {one.resource_type or ''}: {one.reason}"
        for one in results
        if one.status != Status.SUCCESS
    ]


def test_every_check_passes(sqlite_doors: Doors) -> None:
    with ScimClient(sqlite_doors) as client:
        wrong = complaints(client.http)

    assert not wrong, "\n".join(wrong)


def test_every_check_passes_beside_workers(tmp_path: Path) -> None:
    """The workers of a running Muster are rung for the same jobs that the door does itself: whoever comes first."""
    with Upstairs(tmp_path / "up") as muster:
        with muster.office.scope() as scope:
            token = api_tokens.create(scope, "probe", ["scim"], by="tester")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{muster.url}/scim/v2", headers=headers, timeout=60) as client:
            wrong = complaints(client)

    assert not wrong, "\n".join(wrong)
