"""An identity system at the SCIM door of an office: speaks like Okta and Entra, and as scim2-tester does."""

from collections.abc import Mapping
from typing import Any, Self, cast

import httpx
from doors import Doors
from scim2_client import BaseSyncSCIMClient
from scim2_client.client import RawResponse

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class Wire(BaseSyncSCIMClient):
    """scim2-client over httpx."""

    def __init__(self, client: httpx.Client) -> None:
        """`client`: its base_url is the root of the SCIM door."""
        super().__init__()
        self.client = client

    def _stays_under_base_url(self, endpoint: str) -> bool:
        return str(self.client.build_request("GET", endpoint).url).startswith(str(self.client.base_url))

    def _parse_json(self, response: RawResponse) -> Any:
        return cast(httpx.Response, response).json()

    def request(self, method: str, url: str, **kwargs: Any) -> RawResponse:
        return cast(RawResponse, self.client.request(method, url, **kwargs))


class ScimClient:
    """Whoever holds a token with the scope scim."""

    def __init__(self, doors: Doors, name: str | None = None, *also: str) -> None:
        """`name`: of the token; `also`: what it may besides."""
        self.office = doors.office
        caller = doors.caller("scim", *also, name=name)
        self.http = httpx.Client(base_url=f"{doors.url}/scim/v2", headers=caller.headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request; `If_Match` is the header If-Match."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, path, json=body, headers={"Content-Type": "application/scim+json", **names})

    def create(self, username: str, **attributes: Any) -> dict[str, Any]:
        """Make a user that must be made; returns it."""
        answer = self.ask("POST", "/Users", {"schemas": [USER], "userName": username, **attributes})
        assert answer.status_code == 201, answer.text
        return found(answer)

    def group(self, name: str, *members: str) -> dict[str, Any]:
        """Make a group that must be made; returns it."""
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": one} for one in members]}
        answer = self.ask("POST", "/Groups", body)
        assert answer.status_code == 201, answer.text
        return found(answer)

    def patch(self, path: str, *operations: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Send a patch."""
        return self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read what must be there."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return found(answer)

    def search(self, where: str, path: str = "/Users", **query: Any) -> list[dict[str, Any]]:
        """Return what a filter finds."""
        return list(self.get(path, filter=where, **query)["Resources"])


def found(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer, which must be in SCIM's media type."""
    assert answer.headers["content-type"].startswith("application/scim+json"), answer.headers
    body = answer.json()
    assert isinstance(body, dict)
    return body


def refused(answer: httpx.Response, status: int, scim_type: str | None = None) -> str:
    """The sentence of an error (RFC 7644, 3.12), which must have this status and type."""
    body = found(answer)
    assert answer.status_code == status, answer.text
    assert body["schemas"] == [ERROR]
    assert body["status"] == str(status)
    assert body.get("scimType") == scim_type, body
    return str(body["detail"])
