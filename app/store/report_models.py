"""Tables of reports: a question, and the runs and campaigns that answer it."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store import clock
from app.store.base import Base


class Report(Base):
    """A report of an experiment. Its numbers are not stored: they are read whenever it is shown."""

    __tablename__ = "reports"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    question: Mapped[str] = mapped_column(Text)
    notes: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=clock.now())
    changed_at: Mapped[datetime] = mapped_column(default=clock.now())


class ReportRun(Base):
    """A run of a report. `run_id` is no foreign key: a deleted run keeps its number, name and method here."""

    __tablename__ = "report_runs"

    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[int] = mapped_column(primary_key=True, index=True)
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(120))
    method: Mapped[str] = mapped_column(String(16))


class ReportCampaign(Base):
    """A campaign of a report."""

    __tablename__ = "report_campaigns"

    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True)
    campaign_id: Mapped[int] = mapped_column(
        ForeignKey("campaigns.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    position: Mapped[int]
