"""Simulation of the board's 95% intervals: how often they contain the value that they are about."""
