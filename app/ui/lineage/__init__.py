"""Lineage: `lineage?dataset=3`, `?run=12` or `?campaign=5`."""
