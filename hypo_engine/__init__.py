"""The HyPO training engine: torch, transformers and peft, usable without the rest of HyPO Studio.

Importing this package, :mod:`hypo_engine.config` or :mod:`hypo_engine.data.formats` loads no torch, so the
web process can share the configuration schema and the data formats.
"""
