"""Models behind OpenAI-compatible endpoints, which the operator configures in a file (`HYPO_ENDPOINTS`)."""

from app.endpoints.client import Asked, Client, EndpointError, Reply, Stopped
from app.endpoints.config import Endpoint, configured, get, key_names

__all__ = [
    "Asked",
    "Client",
    "Endpoint",
    "EndpointError",
    "Reply",
    "Stopped",
    "configured",
    "get",
    "key_names",
]
