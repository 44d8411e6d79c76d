"""Tests of the app. `app.ui` comes first: it imports Gradio without the type stubs that Gradio writes."""

from app import ui as ui
