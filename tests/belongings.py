"""What people come to have by using their accounts: sessions, tokens, consents and devices, made the real way."""

from datetime import timedelta

from office import Office

from worker.directory import credentials

LONG = timedelta(days=300)


def equip(office: Office, user_id: str, *, ip: str = "10.0.0.1", application: str = "wiki", device: str = "yellow key") -> str:
    """Give somebody one of each; returns the session's id."""
    with office.scope() as scope:
        session = credentials.issue_session(scope, user_id, LONG, ip, f"Browser of {application}")
        assert session is not None, "the person may not get in"
        assert credentials.issue_refresh_token(scope, user_id, application, session.id, LONG)
        assert credentials.record_consent(scope, user_id, application, ["profile"], LONG)
        found = credentials.register_mfa_device(scope, user_id, "totp", device)
        assert found is not None
        assert credentials.confirm_mfa_device(scope, user_id, found)
        return session.id
