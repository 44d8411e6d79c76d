"""Files on disk: a model's, the demo model, the cache of reference scores. No torch here."""
