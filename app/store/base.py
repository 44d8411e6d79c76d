"""Shared by all tables: UTC times, enums stored as text, and constraint names."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Enum, MetaData
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from app.store.enums import (
    CampaignForm,
    CampaignOrder,
    CampaignStatus,
    Choice,
    EventLevel,
    GenerationKind,
    GenerationStatus,
    JudgeKind,
    MarginKind,
    Outcome,
    PairScoringStatus,
    RunStatus,
    RunWish,
    ScoringStatus,
    SlotKind,
    SlotStatus,
    Split,
    TaskStatus,
    VerdictStatus,
    WhyLeftOut,
)


def utcnow() -> datetime:
    return datetime.now(UTC)


class UTCDateTime(TypeDecorator[datetime]):
    """A time that is written and read as UTC. SQLite drops the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _enum(kind: type[Any]) -> Enum:
    return Enum(
        kind,
        native_enum=False,
        length=32,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UTCDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        Any: JSON(),
        RunStatus: _enum(RunStatus),
        RunWish: _enum(RunWish),
        GenerationKind: _enum(GenerationKind),
        GenerationStatus: _enum(GenerationStatus),
        Split: _enum(Split),
        Choice: _enum(Choice),
        EventLevel: _enum(EventLevel),
        WhyLeftOut: _enum(WhyLeftOut),
        Outcome: _enum(Outcome),
        CampaignForm: _enum(CampaignForm),
        CampaignOrder: _enum(CampaignOrder),
        CampaignStatus: _enum(CampaignStatus),
        SlotKind: _enum(SlotKind),
        SlotStatus: _enum(SlotStatus),
        TaskStatus: _enum(TaskStatus),
        JudgeKind: _enum(JudgeKind),
        VerdictStatus: _enum(VerdictStatus),
        ScoringStatus: _enum(ScoringStatus),
        PairScoringStatus: _enum(PairScoringStatus),
        MarginKind: _enum(MarginKind),
    }
