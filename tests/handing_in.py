"""Hands single jobs in over HTTP."""

from typing import Any

import httpx

GROUP = {"kind": "create_group", "payload": {"group": "new"}}


def send(client: httpx.Client, job: dict[str, Any], key: str = "k", **query: Any) -> httpx.Response:
    """Send one job under a key."""
    return client.post("/v1/jobs", json=job, headers={"Idempotency-Key": f'"{key}"'}, params=query)
