"""What Muster tells SCIM clients about itself, and what it puts up with from them."""

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    ETag,
    Filter,
    Patch,
    ScimPolicy,
    ServiceProviderConfig,
    Sort,
)

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

# A page of people with all they have is about a megabyte.
MOST_RESULTS = 1_000
# Each operation is a job of its own, done within the request; more would outlast the patience of clients (60 seconds).
MOST_OPERATIONS = 1_000
MOST_BULK_BYTES = 1024 * 1024

# The same leniency for every client: those that need it cannot be told to be strict, and a strict one never meets it.
# Unknown attributes are dropped, a Remove with values removes those, and `emails[type eq "work"].value` makes the entry
# where there is none.
LENIENT = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


def config() -> ServiceProviderConfig:
    """Return what the service can do (RFC 7643, 5)."""
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=True, max_operations=MOST_OPERATIONS, max_payload_size=MOST_BULK_BYTES),
        filter=Filter(supported=True, max_results=MOST_RESULTS),
        change_password=ChangePassword(supported=True),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken, name="API token", primary=True,
                description="A token with the scope scim, made by `muster token create`, sent as Authorization: Bearer.",
            )
        ],
    )  # fmt: skip
