"""Check of the address on which the app listens."""

from app.errors import Refused
from app.settings import Settings


def check_exposure(host: str, settings: Settings) -> None:
    """Refuse to listen beyond this machine without a login.

    Raises:
        Refused: with instructions to set a login.
    """
    try:
        logins = settings.logins()
        settings.proxy_networks()
    except ValueError as error:
        raise Refused(str(error)) from error
    if host not in ("127.0.0.1", "localhost", "::1") and not logins:
        raise Refused(
            f"Listening on {host} would let anybody on the network in; "
            "set HYPO_AUTH=user:password first, or leave --host out."
        )
