"""Our storage keeps the contract of scim2-server's storages, filters and orders included, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from office import Office
from scim2_models import ResourceType, ScimProvider, UniquenessException
from scim2_server.testing import ScimStorageContract

from worker.api_tokens import Caller
from worker.scim.protocol import Storage, provider
from worker.scim.reading import Reader
from worker.scim.writing import Writer


class TestStorage(ScimStorageContract):
    """The contract's own tests; the two that names here contradict are said the other way round."""

    @pytest.fixture
    def provider(self) -> ScimProvider:
        """The description of our service, which has no display names of members."""
        return provider()

    @pytest.fixture(autouse=True)
    def _as_served(self, provider: ScimProvider) -> Iterator[None]:
        """Each request is read within the provider's leniency."""
        with provider:
            yield

    @pytest.fixture
    def storage(self, database_url: str) -> Iterator[Storage]:
        """The storage of one client on an empty directory."""
        office = Office(database_url, mail_domains=["example"])
        reader = Reader(office.app.database, "token/contract")
        yield Storage(reader, Writer(office.app, reader, Caller("contract", "contract", ("scim",))))
        office.close()

    def test_update_frees_the_former_unique_values(
        self, storage: Any, user_type: ResourceType, user_model: Any
    ) -> None:
        """A username given up by a rename stays its owner's for good: a late message still means that person."""
        [user] = self.create_users(storage, user_type, user_model, "bjensen")
        user.user_name = "babs"
        storage.update(user_type, user)

        with pytest.raises(UniquenessException):
            self.create_users(storage, user_type, user_model, "bjensen")
        user.user_name = "bjensen"
        assert storage.update(user_type, user).user_name == "bjensen"

    def test_delete_frees_the_unique_values(
        self, storage: Any, user_type: ResourceType, user_model: Any
    ) -> None:
        """The username of somebody who was deleted is nobody's again."""
        [user] = self.create_users(storage, user_type, user_model, "bjensen")
        storage.delete(user_type, user.id)

        with pytest.raises(UniquenessException):
            self.create_users(storage, user_type, user_model, "bjensen")
