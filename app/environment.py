"""The environment of each child process: common variables and the secrets that its own task needs.

The supervisor may have been started with logins, keys and passwords for everything. A compromised child
should hold only those it uses.
"""

import os
from collections.abc import Mapping
from typing import Final

PLAIN: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "LC_", "TZ", "TMPDIR", "PWD"),
    *("LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV", "MALLOC_", "GLIBC_", "XDG_", "CC", "CFLAGS", "COVERAGE"),
    *("SSL_CERT", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy", "FAKETIME"),
    *("OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "TORCH", "PYTORCH_", "TRITON_", "TOKENIZERS_"),
    *("CUDA_", "NVIDIA_", "NCCL_", "HSA_", "HIP_", "ROCR_", "GPU_", "ZE_", "SYCL_", "ONEAPI_"),
    *("HF_HOME", "HF_HUB_", "HF_ENDPOINT", "HF_DATASETS_", "TRANSFORMERS_", "GRADIO_", "HYPO_"),
)
"""Prefixes of the names of variables that hold no secret and that any program may need."""

DATABASE: Final = ("HYPO_DATABASE_URL", "PG")
BROKER: Final = ("HYPO_BROKER_URL",)
STORE: Final = ("HYPO_ARTIFACTS_URL", "AWS_", "BOTO", "FSSPEC_")
HUB: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_TOKEN", "HTTP_PROXY", "HTTPS_PROXY")
PROXIES: Final = ("http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
LOGINS: Final = ("HYPO_AUTH",)
EMBEDDED: Final = ("HYPO_EMBEDDED_PASSWORD",)

SECRETS: Final = (*DATABASE, *BROKER, *STORE, *HUB, *PROXIES, *LOGINS, *EMBEDDED)

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "web": (*DATABASE, *BROKER, *STORE, *HUB, *PROXIES, *LOGINS),
    "worker": (*DATABASE, *BROKER, *STORE, *HUB, *PROXIES),
    "endpoints": (*DATABASE, *BROKER, "HTTP_PROXY", "HTTPS_PROXY", *PROXIES),
    "broker": EMBEDDED,
    "watchdog": DATABASE,
}
"""The secrets that each kind of process uses. Addresses are included, as they may hold a password.

The keys of the endpoints are not among them: the supervisor gives them to the endpoints worker by name.
"""


def environment_for(kind: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a new process of this kind.

    Args:
        given: the variables to choose from; by default this process's environment.
    """
    there = os.environ if given is None else given
    return {
        name: value
        for name, value in there.items()
        if name.startswith(NEEDS.get(kind, ())) or (name.startswith(PLAIN) and not name.startswith(SECRETS))
    }


def keep_private() -> None:
    """Make the files this process writes readable only by its own user."""
    os.umask(0o077)
