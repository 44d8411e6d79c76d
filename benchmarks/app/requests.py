"""The requests of the API's operations: what each call sends, and what must exist before it.

`c` is the caller of `benchmarks.app.calls`, whose functions make what a call needs.
"""

from collections.abc import Callable
from typing import Any

_Prepare = Callable[[Any], dict[str, Any]]

READS: dict[str, _Prepare] = {
    "list_scored_pairs": lambda c: {"params": {"limit": 200, "sort": "near"}},
    "get_own_vote": lambda c: c.voted(),
    "list_votes": lambda c: {"params": {"limit": 200}},
    "export_metrics": lambda c: {"params": {"run": c.filled.longest_run, "name": "loss"}},
    "list_runs": lambda c: {"params": {"limit": 200}},
    "list_datasets": lambda c: {"params": {"limit": 200}},
    "list_conversations": lambda c: {"params": {"limit": 200}},
    "list_samples": lambda c: {"params": {"limit": 200}},
    "list_generations": lambda c: {"params": {"limit": 200, "text": "could could -zyzzyva"}},
    "get_generation": lambda c: {"generation_id": c.two_samples()[0]},
    "list_pairs": lambda c: {"params": {"limit": 200}},
    "list_campaigns": lambda c: {"params": {"limit": 200}},
    "get_campaign": lambda c: {"campaign_id": c.campaign_id},
    "get_campaign_board": lambda c: {"campaign_id": c.campaign_id},
    "get_campaign_quality": lambda c: {"campaign_id": c.campaign_id},
    "list_disagreements": lambda c: c.read_disagreement,
    "get_disagreement": lambda c: c.read_disagreement,
    "list_judges": lambda c: c.judge,
    "get_judge": lambda c: c.judge,
    "get_judge_board": lambda c: c.judge,
    "list_verdicts": lambda c: c.judge,
    "list_sample_verdicts": lambda c: c.run_judge,
    "get_answer_tokens": lambda c: {"generation_id": c.two_samples()[0]},
    "list_scored_texts": lambda c: {"params": {"limit": 200}},
    "get_scored_text": lambda c: c.scored_text(),
    "get_lineage": lambda c: {"params": {"run": c.filled.usual_run}},
    "list_reports": lambda c: {"params": {"limit": 200}},
    "get_report": lambda c: c.report,
    "export_report": lambda c: c.report,
}
"""Values of reading calls that differ from the usual ones. Lists use the largest page."""

WRITES: dict[str, _Prepare] = {
    "score_pairs": lambda c: {"json": {"run_id": c.filled.usual_run}},
    "cancel_pair_scoring": lambda c: c.queued_scoring(),
    "leave_out_pairs": lambda c: {"dataset": c.new_dataset(), "json": {"rows": [1, 2]}},
    "add_dataset": lambda c: c.upload(),
    "add_dataset_from_votes": lambda c: {"json": {"name": "votes", "user": "voter-7"}},
    "launch_runs": lambda c: {"json": {"method": "twins", "dataset": str(c.filled.dataset)}},
    "clone_run": lambda c: {"run_id": c.filled.usual_run, "json": {}},
    "edit_run": lambda c: {
        "run_id": c.filled.usual_run,
        "json": {"name": "baseline", "notes": "The **first** one.", "tags": ["baseline", "small"]},
    },
    "cancel_run": lambda c: {"run_id": c.new_run()},
    "resume_run": lambda c: {"run_id": c.cancelled_run()},
    "ask": lambda c: {"json": c.question()},
    "follow_up": lambda c: {
        "conversation_id": (c.comparison() + 1) // 2,
        "json": {"prompt": "And then?"},
    },
    "compare_generations": lambda c: {"json": {"generations": c.two_samples()}},
    "stop": lambda c: {},
    "stop_answer": lambda c: {},
    "regenerate": lambda c: {"comparison_id": c.unvoted()},
    "show_names": lambda c: {"comparison_id": c.comparison()},
    "show_all_names": lambda c: {},
    "vote": lambda c: {"comparison_id": c.comparison(), "json": {"choice": "A", "reason": "It is warmer."}},
    "withdraw_own_vote": lambda c: c.voted(),
    "withdraw_vote": lambda c: c.voted(),
    "create_campaign": lambda c: {"json": c.campaign_body()},
    "edit_campaign": lambda c: {"campaign_id": c.campaign_id, "json": {"guidelines": "Be fair."}},
    "add_campaign_prompts": lambda c: {
        "campaign_id": c.campaign_id,
        "json": {"prompts": [f"{c.question()['prompt']} {n}" for n in range(10)]},
    },
    "show_campaign_names": lambda c: {"campaign_id": c.new_campaign()},
    "take_slots": lambda c: c.released(),
    "release_slots": lambda c: c.slot(),
    "vote_on_slot": lambda c: {**c.slot(), "json": {"choice": "A", "reason": "It is warmer."}},
    "undo_slot": lambda c: c.voted_slot(),
    "skip_slot": lambda c: c.slot(),
    "decide_disagreement": lambda c: {**c.blind_disagreement, "json": {"choice": "A"}},
    "undo_verdict": lambda c: c.decided(),
    "start_judge": lambda c: {"campaign_id": c.written_campaign(), "json": {"scorer": "length"}},
    "stop_judge": lambda c: c.new_judge(),
    "resume_judge": lambda c: c.stopped_judge(),
    "start_run_judge": lambda c: {"run_id": c.new_run(), "json": {"scorer": "length"}},
    "delete_run_judge": lambda c: c.new_run_judge(),
    "score_answer": lambda c: {"generation_id": c.two_samples()[0]},
    "score_text": lambda c: {"json": c.text_to_score()},
    "retry_scored_text": lambda c: c.scored_text(),
    "create_report": lambda c: {"json": c.report_body()},
    "edit_report": lambda c: {**c.report, "json": {"notes": "Read with care."}},
    "delete_report": lambda c: c.new_report(),
    "delete_run": lambda c: {"run_id": c.cancelled_run()},
    "delete_dataset": lambda c: {"dataset": c.new_dataset()},
}
