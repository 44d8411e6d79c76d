"""All tables, one module per entity. Times are UTC; JSON columns hold only plain values."""

from app.store import search_schema
from app.store.access_models import ApiToken, IdempotentCall, LoginSession
from app.store.adjudication_models import Adjudication, AdjudicationPair
from app.store.base import Base, UTCDateTime, utcnow
from app.store.campaign_models import Campaign, ControlVote, Slot, Task
from app.store.comparison_models import (
    Comparison,
    Contender,
    Conversation,
    Generation,
    Prompt,
)
from app.store.dataset_models import Dataset, DatasetLeftOut, DatasetPair, VotedPrompt
from app.store.endpoint_models import EndpointAnswer
from app.store.judge_models import Judge, JudgeReply, JudgeVerdict
from app.store.label_models import Label
from app.store.lineage_models import CampaignDataset, DatasetVotes
from app.store.pair_score_models import PairScore, PairScoring
from app.store.report_models import Report, ReportCampaign, ReportRun
from app.store.run_models import Checkpoint, Metric, Run, RunEvent, RunTag
from app.store.score_models import ScoredText, Scoring
from app.store.search_models import SearchBackfill
from app.store.tally_models import Answerer, AspectPair, LabelPair
from app.store.user_models import User
from app.store.vote_models import LabelVersion, NamesSeen
from app.store.worker_models import Worker

__all__ = [
    "Adjudication",
    "AdjudicationPair",
    "Answerer",
    "ApiToken",
    "AspectPair",
    "Base",
    "Campaign",
    "CampaignDataset",
    "Checkpoint",
    "Comparison",
    "Contender",
    "ControlVote",
    "Conversation",
    "Dataset",
    "DatasetLeftOut",
    "DatasetPair",
    "DatasetVotes",
    "EndpointAnswer",
    "Generation",
    "IdempotentCall",
    "Judge",
    "JudgeReply",
    "JudgeVerdict",
    "Label",
    "LabelPair",
    "LabelVersion",
    "LoginSession",
    "Metric",
    "NamesSeen",
    "PairScore",
    "PairScoring",
    "Prompt",
    "Report",
    "ReportCampaign",
    "ReportRun",
    "Run",
    "RunEvent",
    "RunTag",
    "ScoredText",
    "Scoring",
    "SearchBackfill",
    "Slot",
    "Task",
    "UTCDateTime",
    "User",
    "VotedPrompt",
    "Worker",
    "search_schema",
    "utcnow",
]
