"""Detection of whether a process consumes messages, from its probes and a fake clock."""

from worker.consuming import UNREACHABLE, Consumption


class Clock:
    """A manually advanced clock in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def made() -> tuple[Consumption, Clock]:
    clock = Clock()
    return Consumption(60, clock=clock), clock


def test_probes_that_arrive_keep_a_worker_well() -> None:
    consumption, clock = made()
    for _ in range(20):
        clock.seconds += 10
        consumption.sent(True)
        consumption.taken()
        assert (consumption.trouble(), consumption.must_end()) == ("", False)


def test_probes_that_do_not_arrive_are_told_and_end_the_process() -> None:
    consumption, clock = made()
    for _ in range(2):
        clock.seconds += 14
        consumption.sent(True)
        assert consumption.trouble() == ""
    clock.seconds += 3
    assert consumption.trouble().startswith("No message has reached it for 31 s, although the broker")
    assert not consumption.must_end()
    clock.seconds += 29
    assert consumption.must_end()
    with consumption.working() as may_work:
        assert not may_work, "a message that arrives now is left for the next process"


def test_a_broker_that_is_away_ends_no_process() -> None:
    consumption, clock = made()
    for _ in range(100):
        clock.seconds += 10
        consumption.sent(False)
        assert (consumption.trouble(), consumption.must_end()) == (UNREACHABLE, False)
    consumption.sent(True)
    clock.seconds += 20
    assert (consumption.trouble(), consumption.must_end()) == ("", False), "it has time to connect again"
    clock.seconds += 40
    assert consumption.must_end()


def test_a_process_that_stood_still_has_time_to_hear_its_probe() -> None:
    consumption, clock = made()
    clock.seconds += 100_000
    consumption.sent(True)
    assert (consumption.trouble(), consumption.must_end()) == ("", False)


def test_a_busy_worker_owes_no_message() -> None:
    consumption, clock = made()
    with consumption.working() as may_work:
        assert may_work
        clock.seconds += 100_000
        assert (consumption.busy, consumption.trouble(), consumption.must_end()) == (True, "", False)
    clock.seconds += 10
    assert (consumption.busy, consumption.trouble(), consumption.must_end()) == (False, "", False)
