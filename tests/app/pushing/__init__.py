"""Tests of pushing to a hub."""
