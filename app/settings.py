"""Settings of every process, read from environment variables with the prefix HYPO_."""

from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from hypo_engine.files.reference_cache import DEFAULT_MAX_BYTES


class Settings(BaseSettings):
    """What differs between a laptop and a cluster. The defaults suit a laptop."""

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
        description="Redis or Valkey URL, such as redis://host:6379/0; empty is the Valkey that `hypo up` "
        "starts.",
    )
    artifacts_url: str = Field(
        "",
        description="Where checkpoints are kept: a folder or s3://bucket/prefix; "
        "empty is a folder in the home folder.",
    )
    auth: SecretStr = Field(
        SecretStr(""),
        description="Logins as user:password, separated by commas. Required to listen beyond this machine.",
    )
    host: str = Field("127.0.0.1", description="Address on which the web app listens.")
    hosts: str = Field(
        "",
        description="Host names by which browsers reach the web app, separated by commas, such as "
        "hypo.example.org or *.example.org. Requests for other names are refused. This machine's own names "
        "(localhost, 127.0.0.1, ::1) and the address in HYPO_HOST are always accepted.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of the proxies in front of the web app, separated by commas, "
        "such as 10.0.0.5 or 10.0.0.0/8. X-Forwarded headers from any other address are ignored.",
    )
    endpoints: str = Field(
        "",
        description="Path of a YAML or JSON file that lists OpenAI-compatible endpoints, which may answer "
        "and judge in campaigns ([endpoints](endpoints.md)). Their keys are in other variables, which the "
        "file names.",
    )
    mcp_confirm: bool = Field(
        True,
        description="Whether MCP tools that change something ask a person for consent first. "
        "With no they act at once ([MCP](mcp.md)).",
    )
    port: int = Field(7860, ge=0, le=65535, description="Port of the web app; 0 picks a free one.")
    max_upload_mb: int = Field(
        1024,
        ge=1,
        description="Largest dataset to import, in MiB; the unpacked bytes of all its files count.",
    )
    user_files_mb: int = Field(
        4096,
        ge=1,
        description="Disk space for one user's uploads and exports, in MiB. They are kept for a day.",
    )
    max_dataset_rows: int = Field(500_000, ge=1, description="Largest number of rows in one dataset.")
    max_prompt_chars: int = Field(
        32_000, ge=1, description="Longest question on the Compare page, in characters."
    )
    lease_seconds: float = Field(
        60.0, gt=0, description="A worker that is silent for this long loses its run."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts at a run before it counts as failed.")
    resend_seconds: float = Field(
        60.0,
        gt=0,
        description="A queued run that no worker has claimed for this long is sent to the broker again.",
    )
    cancel_seconds: float = Field(
        30.0, gt=0, description="A process that has not responded to a cancel within this time is killed."
    )
    deaf_seconds: float = Field(
        90.0,
        gt=0,
        description="An idle worker that has received no message for this long, although the broker accepts "
        "them, exits, so that its supervisor restarts it. After half this time its health reports the "
        "problem.",
    )
    database_seconds: float = Field(
        60.0,
        gt=0,
        description="A PostgreSQL server that is silent for this long during a statement counts as away, "
        "and the connection is closed.",
    )
    outage_seconds: float = Field(
        900.0,
        gt=0,
        description="Longest wait for a database or an artifact store that is away. After that the run "
        "fails.",
    )
    resumable_checkpoints: int = Field(
        2,
        ge=1,
        description="How many of a run's last checkpoints keep the optimiser's state, so that the run can "
        "resume from them. Earlier checkpoints keep only their weights.",
    )
    online_sample_steps: int = Field(
        200,
        ge=0,
        description="Number of steps whose online samples a run keeps: half are the latest, the others are "
        "spread over the steps before; 0 keeps all.",
    )
    keep_served_models: int = Field(
        2, ge=1, description="Base models that the generate worker keeps in memory."
    )
    answer_batch_rows: int = Field(
        48,
        ge=1,
        description="Answers of a campaign that a generate worker writes at the same time. A GPU with free "
        "memory can take several times as many. After an out-of-memory error a batch is halved.",
    )

    reference_cache_max_bytes: int = Field(
        DEFAULT_MAX_BYTES,
        ge=0,
        description="Largest size of the cache of reference log-probabilities, in bytes. Beyond it, the "
        "files used longest ago are deleted. `hypo cache` lists and clears them. `hypo train` and `python "
        "-m hypo_engine` read this variable too.",
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
        """Folder of the unpacked demo model."""
        return self.root / "models"

    @property
    def cache_dir(self) -> Path:
        """Cache of reference log-probabilities, shared between runs."""
        return self.root / "cache"

    @property
    def work_dir(self) -> Path:
        """Local scratch folder of active runs. Lasting files are copied to the artifacts."""
        return self.root / "work"

    @property
    def workers_dir(self) -> Path:
        """Folder of the locks that this machine's worker processes hold while they are alive."""
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
        """The names in ``hosts`` and the address on which the app listens."""
        return [*_entries(self.hosts), self.host]

    def proxy_networks(self) -> list[str]:
        """The entries of ``trusted_proxies``.

        Raises:
            ValueError: for an entry that is neither an address nor a network.
        """
        entries = _entries(self.trusted_proxies)
        for entry in entries:
            try:
                ip_network(entry, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"HYPO_TRUSTED_PROXIES: {entry!r} is neither an address nor a network; "
                    "write entries such as 10.0.0.5 or 10.0.0.0/8."
                ) from error
        return entries

    def logins(self) -> list[tuple[str, str]]:
        """The user and password pairs in ``auth``.

        Raises:
            ValueError: for an entry that is not user:password.
        """
        pairs = []
        for entry in filter(None, self.auth.get_secret_value().split(",")):
            user, colon, password = entry.partition(":")
            if not colon or not user.strip() or not password:
                raise ValueError("HYPO_AUTH must be user:password, or several of these separated by commas.")
            pairs.append((user.strip(), password))
        return pairs


def _entries(listed: str) -> list[str]:
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings."""
    return Settings()
