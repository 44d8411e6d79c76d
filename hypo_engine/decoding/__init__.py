"""Decoding: sampling, and the implementations of a decoding step."""
