"""Label: `label?campaign=N`. Its script calls the REST API. Without a campaign it lists the open ones."""

import gradio as gr

from app import labelling
from app.i18n import _
from app.ui import events, formatting, query, widgets
from app.ui.label.layout import lay_out
from app.ui.widgets import Html


def build() -> None:
    """Lay out the page, then wire its events."""
    events.on_load(show_list, None, lay_out())


def show_list(request: gr.Request) -> Html:
    """The open campaigns in which this person may vote, unless the address names one."""
    if query.ids(request, "campaign"):
        return widgets.NOTHING
    if query.wrong_id(request, "campaign"):
        return _no_campaign()
    header = widgets.page_header(
        _("Label"), _("Judge a campaign's answers blind, with one key for each comparison.")
    )
    return widgets.join([header, _campaigns(query.username(request))])


def _no_campaign() -> Html:
    gone = widgets.empty_state(
        _("There is no such campaign"),
        _("Choose one on the list of open campaigns."),
        widgets.link_button(_("Open campaigns"), "label", primary=True),
    )
    return widgets.join([widgets.page_header(_("Label")), gone])


def _campaigns(user: str) -> Html:
    found = labelling.open_to(user)
    if not found:
        return widgets.empty_state(
            _("Nothing to judge"),
            _(
                "No open campaign asks for your votes. A campaign puts prompts to several models; people "
                "judge."
            ),
            widgets.link_button(_("Campaigns"), "campaigns", primary=True),
        )
    rows = [
        (
            widgets.link(campaign.name, "label", campaign=campaign.id),
            formatting.count(mine.voted, "vote"),
            f"{mine.left:,}",
            widgets.link_button(_("Label"), "label", campaign=campaign.id, primary=mine.left > 0),
        )
        for campaign, mine in found
    ]
    headers = [_("Campaign"), _("Yours"), _("To go for you"), ""]
    return widgets.table(headers, rows, caption=_("Open campaigns"), numeric=(2,))
