"""Benchmark of the app on a large database: times of pages, calls, votes and scans."""
