"""The pages, one folder each, and their shared parts: theme, widgets, charts and events.

`gr.Error` is raised only here.
"""
