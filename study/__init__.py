"""The study that tests HyPO's claim: `make study`. docs/study.md describes it."""
