"""Celery workers: they claim rows by id, run the engine, and write what happens back to the store."""
