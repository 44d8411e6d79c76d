"""Scorers: numbers for answers, from rules or from reward models."""
