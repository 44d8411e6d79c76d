"""`hypo workers`: list the running workers, and whether they receive messages."""

from app.cli.output import JsonFlag, print_json, print_table
from app.presence import no_worker
from app.store import workers as store
from app.store.db import read_session
from app.store.models import Worker
from app.views import worker_view


def workers(as_json: JsonFlag = False) -> None:
    """List the workers seen recently, what they load, and why a worker receives no messages."""
    with read_session() as session:
        found = store.present(session=session)
    if as_json:
        print_json([worker_view(worker) for worker in found])
        return
    print_table(
        ["worker", "queues", "device", "state"],
        ((worker.id, worker.queues, worker.device, _state(worker)) for worker in found),
        empty=no_worker(),
    )


def _state(worker: Worker) -> str:
    if worker.trouble:
        return worker.trouble
    return f"loads {worker.loading}" if worker.loading else "takes messages"
