"""The way from a made comparison to the compare page."""

from markupsafe import Markup

from app.i18n import _
from app.ui import widgets
from app.ui.widgets import Html


def opening(conversation_id: int) -> Html:
    """A message that opens a conversation on the compare page."""
    return Markup('<div class="hy-notice hy-good" role="status" data-next="{}">{}</div>').format(
        widgets.url("compare", conversation=conversation_id), _("Made. Opening…")
    )
