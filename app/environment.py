"""What each process is told by its environment: what every program needs, and the secrets of its own task.

The supervisor may have been started with logins, keys and passwords for everything. A child that is broken
into should have none but those it uses.
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
"""Beginnings of the names of variables that hold no secret and that any program may need."""

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
    "broker": EMBEDDED,
    "watchdog": DATABASE,
}
"""The secrets that each kind of process uses. An address may hold a password, so it is one of them."""


def environment_for(kind: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that a kind of process is started with.

    Args:
        given: what there is; this process's own environment if not said.
    """
    there = os.environ if given is None else given
    return {
        name: value
        for name, value in there.items()
        if name.startswith(NEEDS.get(kind, ())) or (name.startswith(PLAIN) and not name.startswith(SECRETS))
    }


def keep_private() -> None:
    """Let nobody but this user read what the process writes."""
    os.umask(0o077)
