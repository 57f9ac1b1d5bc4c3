"""Which people somebody looks for, as it stands in an address and in a form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData, QueryParams

#: The states that people are looked for in: the word in the address, what is shown, and what is asked of the directory.
STATES: Mapping[str, tuple[str, Mapping[str, bool]]] = {
    "": ("Everybody", {}),
    "active": ("Active", {"active": True}),
    "inactive": ("Inactive", {"active": False}),
    "locked": ("Locked", {"locked": True}),
    "leaving": ("Deletion planned", {"leaving": True}),
}
# As long as the longest of what is searched.
LONGEST = 255


@dataclass(frozen=True)
class Search:
    """What somebody typed and chose; empty is everybody."""

    search: str = ""
    state: str = ""
    path: str = ""

    @classmethod
    def read(cls, given: FormData | QueryParams) -> "Search":
        """Read it off an address or a form; what is no text or no state is left out."""
        found = {name: value.strip()[:LONGEST] for name in ("search", "state", "path") if isinstance(value := given.get(name), str)}
        return cls(**found | ({} if found.get("state", "") in STATES else {"state": ""}))

    def wanted(self) -> dict[str, Any]:
        """The same as `listing.people` is asked."""
        # NUL is in no text of a database, and PostgreSQL refuses it.
        search, path = self.search.replace("\0", "\ufffd"), self.path.replace("\0", "\ufffd")
        return {"search": search or None, "path": path.strip("/") or None, **STATES[self.state][1]}

    def address(self, **more: str) -> str:
        """The query of the list's address, with more in it."""
        return urlencode({name: value for name, value in {**asdict(self), **more}.items() if value}, errors="replace")
