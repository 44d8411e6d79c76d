from time import sleep

import pytest

from hypo_engine.forward.phases import measured, phase


def test_a_phase_counts_its_own_seconds_and_not_those_inside_it() -> None:
    with measured() as phases:
        with phase("outer"):
            sleep(0.01)
            with phase("inner"):
                sleep(0.05)
        with phase("inner"):
            sleep(0.01)
    assert set(phases.seconds) == {"outer", "inner"}
    assert phases.seconds["outer"] < phases.seconds["inner"]
    assert phases.total == pytest.approx(sum(phases.seconds.values()))


def test_a_whole_phase_keeps_what_runs_inside_it() -> None:
    with measured() as phases:
        with phase("reference", whole=True), phase("prefix"):
            sleep(0.02)
        with phase("prefix"):
            pass
    assert phases.seconds["reference"] > 0.02 > phases.seconds["prefix"]


def test_nothing_is_measured_unless_asked() -> None:
    with phase("prefix"):
        pass
    with measured() as phases:
        pass
    assert phases.total == 0.0


def test_a_phase_that_fails_is_closed() -> None:
    with measured() as phases, phase("outer"), pytest.raises(ValueError, match="x"), phase("inner"):
        raise ValueError("x")
    assert set(phases.seconds) == {"outer", "inner"}
