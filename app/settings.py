"""One Settings for every process, read from the environment with the prefix HYPO_."""

from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from hypo_engine.files.reference_cache import DEFAULT_MAX_BYTES


class Settings(BaseSettings):
    """What differs between a laptop and a cluster. Every default is the embedded one."""

    model_config = SettingsConfigDict(env_prefix="HYPO_", extra="ignore")

    home: Path = Field(
        Path(".hypo"),
        description="Folder of the embedded database, the artifacts, the unpacked models and the logs.",
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy URL, such as postgresql+psycopg://user:password@host/hypo; "
        "empty is SQLite in the home folder.",
    )
    broker_url: str = Field(
        "",
        description="Redis or Valkey URL, such as redis://host:6379/0; "
        "empty is the Valkey that `hypo up` starts.",
    )
    artifacts_url: str = Field(
        "",
        description="Where checkpoints are kept: a folder or s3://bucket/prefix; "
        "empty is a folder in the home folder.",
    )
    auth: SecretStr = Field(
        SecretStr(""),
        description="Logins as user:password, separated by commas; needed to listen beyond this machine.",
    )
    host: str = Field("127.0.0.1", description="Address the web app listens on.")
    hosts: str = Field(
        "",
        description="Host names by which browsers reach the web app, separated by commas, such as "
        "hypo.example.org or *.example.org; requests for other names are refused. This machine's own names "
        "(localhost, 127.0.0.1, ::1) and the address of HYPO_HOST always count.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of the proxies before the web app, separated by commas, such as "
        "10.0.0.5 or 10.0.0.0/8; X-Forwarded headers of everybody else are ignored.",
    )
    port: int = Field(7860, ge=0, le=65535, description="Port of the web app; 0 takes a free one.")
    max_upload_mb: int = Field(
        1024, ge=1, description="Largest dataset file taken, in MiB, unpacked size included."
    )
    user_files_mb: int = Field(
        4096, ge=1, description="Most MiB that one user's uploads and exports may take; they are kept a day."
    )
    max_dataset_rows: int = Field(500_000, ge=1, description="Most rows one dataset may have.")
    max_prompt_chars: int = Field(
        32_000, ge=1, description="Longest question the compare page takes, in characters."
    )
    lease_seconds: float = Field(60.0, gt=0, description="A worker silent for this long has lost its run.")
    max_attempts: int = Field(3, ge=1, description="How often a run is started before it counts as failed.")
    resend_seconds: float = Field(
        60.0, gt=0, description="A queued run that no worker took for this long is sent to the broker again."
    )
    cancel_seconds: float = Field(
        30.0, gt=0, description="A process that has not acted on a cancel for this long is ended."
    )
    deaf_seconds: float = Field(
        90.0,
        gt=0,
        description="An idle worker that has taken no message for this long, although the broker takes them, "
        "ends its process, so that its supervisor starts it again; after half of it, its health says so.",
    )
    database_seconds: float = Field(
        60.0,
        gt=0,
        description="A PostgreSQL server that says nothing for this long in the middle of a statement counts "
        "as away, and the connection is closed.",
    )
    outage_seconds: float = Field(
        900.0,
        gt=0,
        description="Longest wait for a database or an artifacts' store that is away; then the run fails.",
    )
    resumable_checkpoints: int = Field(
        2,
        ge=1,
        description="How many of a run's last checkpoints keep the optimiser's state, so that it can go on "
        "from them; the earlier ones keep their weights alone.",
    )
    online_sample_steps: int = Field(
        200,
        ge=0,
        description="Of how many steps a run keeps its online samples: half of them are the last, the others "
        "are spread over those before; 0 keeps all.",
    )
    keep_served_models: int = Field(2, ge=1, description="Base models the generate worker keeps in memory.")

    reference_cache_max_bytes: int = Field(
        DEFAULT_MAX_BYTES,
        ge=0,
        description="Most bytes that cached reference scores may take; beyond it the files that were used "
        "longest ago go. `hypo cache` lists and clears them. The engine alone reads it too.",
    )

    @property
    def root(self) -> Path:
        """The home folder as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def sqlalchemy_url(self) -> str:
        embedded = URL.create("sqlite", database=str(self.root / "hypo.db"))
        return self.database_url or embedded.render_as_string()

    @property
    def models_dir(self) -> Path:
        """Where the demo model is unpacked."""
        return self.root / "models"

    @property
    def cache_dir(self) -> Path:
        """Where reference log-probabilities are kept between runs."""
        return self.root / "cache"

    @property
    def work_dir(self) -> Path:
        """Local scratch of running runs; what lasts is copied to the artifacts."""
        return self.root / "work"

    @property
    def workers_dir(self) -> Path:
        """Locks that this machine's worker processes hold while they live."""
        return self.root / "workers"

    @property
    def logs_dir(self) -> Path:
        return self.root / "logs"

    @property
    def artifacts(self) -> str:
        """The artifacts' root as an fsspec URL or an absolute folder."""
        if not self.artifacts_url:
            return str(self.root / "artifacts")
        if "://" in self.artifacts_url:
            return self.artifacts_url.rstrip("/")
        return str(Path(self.artifacts_url).expanduser().resolve())

    def host_names(self) -> list[str]:
        """The names of ``hosts`` and the address that the app listens on."""
        return [*_entries(self.hosts), self.host]

    def proxy_networks(self) -> list[str]:
        """The entries of ``trusted_proxies``.

        Raises:
            ValueError: for an entry that is no address and no network.
        """
        entries = _entries(self.trusted_proxies)
        for entry in entries:
            try:
                ip_network(entry, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"HYPO_TRUSTED_PROXIES: {entry!r} is no address and no network; "
                    "write entries such as 10.0.0.5 or 10.0.0.0/8."
                ) from error
        return entries

    def logins(self) -> list[tuple[str, str]]:
        """The user and password pairs of ``auth``.

        Raises:
            ValueError: for an entry that is not user:password.
        """
        pairs = []
        for entry in filter(None, self.auth.get_secret_value().split(",")):
            user, colon, password = entry.partition(":")
            if not colon or not user.strip() or not password:
                raise ValueError("HYPO_AUTH must be user:password, with commas between several.")
            pairs.append((user.strip(), password))
        return pairs


def _entries(listed: str) -> list[str]:
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings."""
    return Settings()
