"""Celery workers: they claim rows, run the engine, and write its events to the store."""
