"""scim2-tester finds nothing to complain about at the running server."""

from doors import Doors
from scim2_tester import Status, check_server
from scim_client import ScimClient, Wire


def test_every_check_of_scim2_tester_passes(sqlite_doors: Doors) -> None:
    with ScimClient(sqlite_doors) as client:
        results = check_server(Wire(client.http))

    wrong = [f"{one.status.name} {one.title} {one.resource_type or ''}: {one.reason}" for one in results
             if one.status != Status.SUCCESS]  # fmt: skip
    assert not wrong, "\n".join(wrong)
    assert len(results) >= 135, "with fewer checks it has overlooked something"
