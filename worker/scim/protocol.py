"""The port to scim2-server, which knows the protocol: the one module here that knows its interface."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, cast

from pydantic import ValidationError
from scim2_models import (
    Error,
    InvalidFilterException,
    NotFoundException,
    Path,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    ScimFilter,
    ScimProvider,
    SearchRequest,
)
from scim2_server.conditions import Conditions, EntityTags
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService
from scim2_server.storage import ScimStorage, SearchPage
from scim2_server.utils import load_default_resource_types, load_default_schemas

from worker.database import Busy, Unreachable
from worker.scim import people, teams
from worker.scim.description import GROUP, LENIENT, config
from worker.scim.errors import RETRY_SECONDS, NotDoneYet, is_stale
from worker.scim.filters import LONGEST_FILTER
from worker.scim.people import Person
from worker.scim.quirks import tidy
from worker.scim.reading import Reader, Team, Type, Wanted, Window
from worker.scim.writing import Writer

log = logging.getLogger(__name__)

# A patch of a larger group is answered without its members (204, RFC 7644, 3.5.2): nobody waits for 10,000 names to
# hear that one was added.
MOST_MEMBERS_SHOWN = 1_000
# How often a change is computed anew when the record was changed meanwhile and the client did not say which version it
# means.
TRIES = 4
_NOT_COMPARED = ("schemas", "id", "meta", "groups", "password")


_making = threading.Lock()


def provider() -> ScimProvider:
    """The description of this service, from the schemas of RFC 7643; made once, or records of two would not be alike."""
    with _making:
        return _made()


@cache
def _made() -> ScimProvider:
    schemas = load_default_schemas()
    for attribute in schemas[GROUP].attributes or []:
        if attribute.name == "members":
            # As RFC 7643, 8.7.1, has it: the display names of 10,000 members would be read for nobody.
            attribute.sub_attributes = [one for one in attribute.sub_attributes or [] if one.name != "display"]
    return ScimProvider.from_discovery(
        schemas.values(), load_default_resource_types().values(), config=config(), policy=LENIENT
    )


def serve(
    reader: Reader, writer: Writer, *, method: str, base_url: str, path: str, query: Mapping[str, str],
    headers: Sequence[tuple[str, str]], body: bytes,
) -> tuple[int, dict[str, str], dict[str, Any] | None]:  # fmt: skip
    """Answer one request of a client, whatever becomes of it: (status, headers, body).

    `base_url`: where the door is, as the client sees it; `path`: below it.
    """
    service = Service(provider())
    request = ScimRequest(method=method, base_url=base_url, path=path, query=query, headers=headers)
    try:
        request.body = tidy(method, path, body)
        answer = Handler(service, Storage(reader, writer)).handle(request)
    except Exception as error:
        answer = service.error_response(error)
    return int(answer.status), answer.headers, answer.body


class Service(ScimService):
    """The protocol, with the answers that please every client. One for each request."""

    #: Whether the group that is answered with was read with its members.
    whole = True

    def read_search(self, resource_types: list[ResourceType], payload: Any) -> tuple[SearchRequest[Any], Any]:
        """Read a search, unless it asks for more than anybody means."""
        for name, value in payload.items() if isinstance(payload, Mapping) else ():
            if str(name).casefold() == "filter" and isinstance(value, str) and len(value) > LONGEST_FILTER:
                raise InvalidFilterException(detail=f"A filter may have {LONGEST_FILTER} characters at most.")
        return super().read_search(resource_types, payload)

    def patch_response(
        self, base_url: str, resource: Resource[Any], response_parameters: ResponseParameters[Any]
    ) -> ScimResponse:
        """Answer a patch with the record, as after a replacement."""
        if not self.whole and _wants(response_parameters, self.get_model(self.get_resource_type_of(resource)), "members"):
            return ScimResponse(HTTPStatus.NO_CONTENT, None, {"ETag": str(resource.meta and resource.meta.version)})
        return self.replacement_response(base_url, resource, response_parameters)

    @staticmethod
    def error_of(exception: Exception) -> Error:
        """Return the error that a client is told; what is no fault of its is logged."""
        if isinstance(exception, (Busy, Unreachable)):
            return NotDoneYet(detail=f"{type(exception).__doc__} Send the same request again.").to_error()
        if not isinstance(exception, SCIMException):
            log.error("scim.fault", exc_info=exception)
            return Error(status=500, detail="Something went wrong here. An administrator finds it in the log.")
        error = exception.to_error()
        if error.detail and "\n" in error.detail:
            error.detail = _plainly(error.detail)
        return error

    def error_response(self, exception: Exception) -> ScimResponse:
        """Return the answer to a request that failed."""
        response = super().error_response(exception)
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


def _plainly(detail: str) -> str:
    """Say in one line what pydantic says in several (a headline, where, what): `title: Input should be a valid string`."""
    lines = [line.strip() for line in detail.splitlines()]
    said = [line.partition(" [type=")[0] for line in lines if line and not line.startswith("For further information")]
    return f"{': '.join(said[1:3])}." if len(said) > 2 else " ".join(said)


class Storage(ScimStorage):
    """The directory, in the form of the core's records."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        """For one client."""
        self.reader, self.writer = reader, writer
        self._read: dict[str, Person | Team] = {}

    def get(
        self, resource_type: ResourceType, resource_id: str, *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:  # fmt: skip
        model = _model(resource_type)
        found: Person | Team | None
        if resource_type.name == "User":
            found = self.reader.person(resource_id, with_groups=_wants(response_parameters, model, "groups"))
        else:
            found = self.reader.team(resource_id, with_members=_wants(response_parameters, model, "members"))
        if found is None:
            raise NotFoundException(detail=f"There is no {resource_type.name} {resource_id}.")
        self._read[resource_id] = found
        return _record(found)

    def search(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], *, position: Any = None
    ) -> SearchPage:
        models = {cast(Type, one.name): _model(one) for one in resource_types}
        wanted = [
            Wanted(
                name,
                _bound(ScimFilter, model)(str(search_request.filter)) if search_request.filter is not None else None,
                search_request.sort_binding(model),
            )
            for name, model in models.items()
        ]
        window = Window(
            search_request.start_index_0 or 0, search_request.count,
            search_request.sort_order == SearchRequest.SortOrder.descending and search_request.sort_by is not None,
        )  # fmt: skip
        total, found = self.reader.search(
            wanted, window,
            with_groups="User" in models and _wants(search_request, models["User"], "groups"),
            with_members="Group" in models and _wants(search_request, models["Group"], "members"),
        )  # fmt: skip
        return SearchPage(total, [_record(one) for one in found])

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        wanted = plain(resource)
        if resource_type.name == "User":
            made = self.writer.create_user(people.change(None, {}, wanted), getattr(resource, "password", None))
        else:
            named = wanted.get("externalId")
            made = self.writer.create_group(
                wanted["displayName"], None if named is None else (named,), teams.members_of(wanted)
            )
        return self.get(resource_type, made)

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        current = self.get(resource_type, str(resource.id))
        assert current.meta is not None
        if expected_version not in (None, current.meta.version):
            raise PreconditionFailedException(detail="Somebody changed the record since. Read it again.")
        self.change(current, plain(current), resource, exact=expected_version is not None)
        return self.get(resource_type, str(resource.id))

    def delete(self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None) -> None:
        current = self.get(resource_type, resource_id)
        assert current.meta is not None
        if expected_version not in (None, current.meta.version):
            raise PreconditionFailedException(detail="Somebody changed the record since. Read it again.")
        found = self._read[resource_id]
        if isinstance(found, Team):
            self.writer.delete_group(found)
        else:
            self.writer.delete_user(resource_id)

    def change(
        self, read: Resource[Any], before: Mapping[str, Any], after: Resource[Any], *, exact: bool, close: bool = False
    ) -> None:
        """Let a record that was read (and looked like `before`) become `after`.

        `exact`: only if nobody changed it meanwhile. `close`: deactivate, even where it says nothing new.
        """
        found = self._read[str(read.id)]
        if isinstance(found, Team):
            self.change_team(found, teams.between(before, plain(after)))
            return
        wanted = people.change(found.row, before, plain(after))
        version = found.row.version if exact or wanted.exact else None
        self.writer.update_user(
            found.row.id, wanted, password=getattr(after, "password", None), version=version, close=close
        )

    def change_team(self, team: Team, wanted: teams.TeamChange) -> None:
        """Change a group, looking only at those of its members whom it is about."""
        if wanted.only is not None:
            there = self.reader.parts_of(team.id)
            add = [one for one in wanted.only if one not in there]
            remove = {one: kind for one, kind in there.items() if one not in wanted.only}
        else:
            there = self.reader.parts_among(team.id, [*wanted.add, *wanted.remove])
            add = [one for one in wanted.add if one not in there]
            remove = {one: there[one] for one in wanted.remove if one in there}
        self.writer.update_group(team, name=wanted.name, external_id=wanted.external_id, add=add, remove=remove)


class Handler(ScimHandler):
    """The order of steps, where ours differs: nothing said of `active` changes nothing, and races are tried again."""

    service: Service
    storage: Storage

    def replace_resource(
        self, resource_type: ResourceType, current: Resource[Any], replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any]:
        """Put a whole record in the place of another."""
        close = getattr(replacement, "active", None) is False

        def once(read: Resource[Any]) -> None:
            wanted = replacement.model_copy(deep=True)
            if getattr(wanted, "active", None) is None and hasattr(read, "active"):
                # Absent or null means "as it is": a PUT of a name must not open an account that somebody closed.
                object.__setattr__(wanted, "active", read.active)
            before = plain(read)
            replaced = self.service.apply_replacement(read, wanted, conditions)
            if replaced is not None or close or getattr(wanted, "password", None):
                self.storage.change(read, before, replaced or wanted, exact=_is_conditional(conditions), close=close)

        self._until_settled(resource_type, current, once, conditions)
        return self.storage.get(resource_type, str(current.id))

    def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: Any, conditions: Conditions
    ) -> Resource[Any]:
        """Apply all operations of a patch, or none."""
        if resource_type.name == "Group" and (wanted := teams.of_patch(patch_op)) is not None:
            return self._patch_team(resource_type, resource_id, wanted, conditions)
        speaks = _speaks_of_active(patch_op)

        def once(read: Resource[Any]) -> None:
            before = plain(read)
            patched = self.service.apply_patch(read, patch_op, conditions)
            close = speaks and getattr(read, "active", None) is False
            if patched is not None or close:
                self.storage.change(read, before, read, exact=_is_conditional(conditions), close=close)

        self._until_settled(resource_type, self.storage.get(resource_type, resource_id), once, conditions)
        return self.storage.get(resource_type, resource_id)

    def _patch_team(
        self, resource_type: ResourceType, resource_id: str, wanted: teams.TeamChange, conditions: Conditions
    ) -> Resource[Any]:
        """Change a group without reading its members."""
        team = self.storage.reader.team(resource_id, with_members=False)
        if team is None:
            raise NotFoundException(detail=f"There is no Group {resource_id}.")
        self.service.check_preconditions(_record(team), "PATCH", conditions)
        self.storage.change_team(team, wanted)
        team = self.storage.reader.team(resource_id, with_members=False) or team
        if team.size <= MOST_MEMBERS_SHOWN:
            return self.storage.get(resource_type, resource_id)
        self.service.whole = False
        return _record(team)

    def _until_settled(
        self, resource_type: ResourceType, read: Resource[Any], once: Callable[[Resource[Any]], None], conditions: Conditions
    ) -> None:
        """Do it again on what is there now, when it had changed since; not where the client named the version it means."""
        for turn in range(TRIES):
            try:
                once(read)
                return
            except SCIMException as error:
                if not is_stale(error) or _is_conditional(conditions):
                    raise
                if turn == TRIES - 1:
                    raise NotDoneYet(detail="Others keep changing this record. Send the same request again.") from error
                read = self.storage.get(resource_type, str(read.id))


# ------------------------------------------------------------------------------------------------------- records


def plain(resource: Resource[Any]) -> dict[str, Any]:
    """Return what a record says, as JSON values by SCIM's names, without what only the directory says."""
    return {name: value for name, value in resource.model_dump().items() if name not in _NOT_COMPARED}


def _record(found: Person | Team) -> Resource[Any]:
    if isinstance(found, Team):
        return _model(_type_named("Group")).model_validate(teams.resource_of(found))
    model = _model(_type_named("User"))
    try:
        return model.model_validate(people.resource_of(found))
    except ValidationError:
        # Free attributes can be written by anybody; one bad record must not hide all others.
        log.warning("scim.unreadable_attributes", extra={"user": found.row.id})
        return model.model_validate(people.resource_of(found._replace(row=found.row._replace(attributes={}))))


@cache
def _type_named(name: str) -> ResourceType:
    return next(one for one in provider().resource_types if one.name == name)


def _model(resource_type: ResourceType) -> type[Resource[Any]]:
    return cast(type[Resource[Any]], provider().model_for(_type_named(str(resource_type.name))))


def _bound(generic: Any, model: Any) -> Any:
    return generic[model]


def _wants(parameters: Any, model: type[Resource[Any]], name: str) -> bool:
    """Whether an answer with these `attributes` and `excludedAttributes` holds an attribute."""
    if parameters is None:
        return True
    if parameters.attributes:
        return any(binding.field_name == name for binding in _bindings(parameters.attributes, model))
    excluded = _bindings(parameters.excluded_attributes or [], model)
    return not any(binding.field_name == name and binding.sub_field_name is None for binding in excluded)


def _bindings(paths: list[Path[Any]], model: type[Resource[Any]]) -> list[Any]:
    return [binding for path in paths if (binding := path.resolve(model)) is not None]


def _is_conditional(conditions: Conditions) -> bool:
    tags = EntityTags.parse(conditions.if_match)
    return tags is not None and not tags.any


def _speaks_of_active(patch_op: Any) -> bool:
    """Whether a patch says anything about `active`."""
    for operation in patch_op.operations or []:
        path = str(operation.path or "")
        names = [path] if path else list(operation.value) if isinstance(operation.value, Mapping) else []
        if any(name.rpartition(":")[2].casefold() == "active" for name in names):
            return True
    return False
