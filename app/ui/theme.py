"""The theme, the colours of reference and methods, and the style sheet. It loads no external resources.

Colour is never the only cue for a method: each method also has a letter on its badge and a dash in charts.
The colours remain distinguishable under common colour blindness (after Okabe and Ito).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import gradio as gr
from gradio.themes.utils import sizes

from app.i18n import N_
from hypo_engine.config import Method, TrainConfig, applies

STYLE_SHEET: Final = Path(__file__).with_name("style.css")
SCRIPT: Final = Path(__file__).with_name("page.js")
FIRST_SCRIPT: Final = Path(__file__).with_name("theme.js")
FRAME: Final = Path(__file__).with_name("frame.css")


@dataclass(frozen=True, slots=True)
class Role:
    """The look of a method on every page: shades in light and dark mode, letter, line and marker.

    The first shade and dash are the method's own; the others distinguish several runs of one method.
    """

    label: str
    letter: str
    light: tuple[str, ...]
    dark: tuple[str, ...]
    dashes: tuple[str, ...]
    symbol: str


ROLES: Final = {
    "reference": Role(
        N_("Reference"),
        "R",
        ("#5f6772", "#8b939e", "#3a4049"),
        ("#a9b1bc", "#7e8691", "#d3d9e1"),
        ("dot", "dot", "dot"),
        "diamond",
    ),
    "dpo": Role(
        "DPO",
        "D",
        ("#c75300", "#e39a2d", "#8a3a00"),
        ("#f08a3c", "#f5c067", "#c9672a"),
        ("dash", "dashdot", "longdash"),
        "square",
    ),
    "hypo": Role(
        "HyPO",
        "H",
        ("#0068a8", "#3fa3d8", "#003d63"),
        ("#58b2ec", "#a5d8f7", "#2f86bf"),
        ("solid", "longdashdot", "longdash"),
        "circle",
    ),
    "reward": Role(
        N_("Reward model"),
        "M",
        ("#6b46a8", "#9c80cf", "#43276f"),
        ("#b496ee", "#d8c8f8", "#8f6fd0"),
        ("dash", "dashdot", "longdash"),
        "hexagon",
    ),
    "rloo": Role(
        "RLOO",
        "L",
        ("#a8326e", "#d477a4", "#6b1543"),
        ("#ef86b8", "#f8bfda", "#ca5c97"),
        ("dashdot", "longdash", "dot"),
        "cross",
    ),
    "ppo": Role(
        "PPO",
        "P",
        ("#007f87", "#45aab1", "#00474d"),
        ("#4fc6cf", "#9be3e8", "#2a99a2"),
        ("longdashdot", "dash", "dot"),
        "x",
    ),
    "online_dpo": Role(
        "Online DPO",
        "O",
        ("#7a6400", "#b09a35", "#4c3e00"),
        ("#d6be4a", "#eadf9d", "#a8912a"),
        ("longdash", "dot", "dashdot"),
        "star",
    ),
    "kto": Role(
        "KTO",
        "K",
        ("#b02a2a", "#d66a6a", "#6e1111"),
        ("#f07f78", "#f7bdb9", "#d2605a"),
        ("longdash", "dashdot", "dot"),
        "pentagon",
    ),
    "sft": Role(
        "SFT",
        "S",
        ("#1e7d4f", "#5fae84", "#0d4d2e"),
        ("#4fc38a", "#9fe0bf", "#2c9261"),
        ("dot", "dashdot", "longdash"),
        "triangle-up",
    ),
}


def role(method: str) -> Role:
    """The role of a method; an unknown method gets the reference's look and keeps its own name."""
    other = replace(ROLES["reference"], label=method or N_("Unknown"), letter=(method[:1] or "?").upper())
    return ROLES.get(method, other)


INK = gr.themes.Color(
    name="ink",
    c50="#f7f7f5",
    c100="#efefec",
    c200="#e1e1dc",
    c300="#c9c9c3",
    c400="#9a9b97",
    c500="#71736f",
    c600="#555853",
    c700="#3d403d",
    c800="#262927",
    c900="#181a19",
    c950="#101211",
)

TEAL = gr.themes.Color(
    name="teal",
    c50="#eef8f6",
    c100="#d5eeea",
    c200="#aedcd5",
    c300="#7cc4ba",
    c400="#46a598",
    c500="#22877a",
    c600="#156c62",
    c700="#12574f",
    c800="#104640",
    c900="#0e3a36",
    c950="#062421",
)

TEXT = sizes.Size(
    name="text_hypo", xxs="11px", xs="12px", sm="13px", md="15px", lg="17px", xl="22px", xxl="28px"
)
SANS = (
    gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)),
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "sans-serif",
)
MONO = (
    gr.themes.LocalFont("IBM Plex Mono", weights=(400,)),
    "ui-monospace",
    "Menlo",
    "Consolas",
    "monospace",
)


_LOOK: Final = {
    "body_background_fill": "#fbfbfa",
    "body_background_fill_dark": "#131514",
    "background_fill_primary": "#ffffff",
    "background_fill_primary_dark": "#1a1d1b",
    "background_fill_secondary": "*neutral_50",
    "background_fill_secondary_dark": "#202321",
    "color_accent": "*primary_600",
    "body_text_color": "*neutral_800",
    "body_text_color_dark": "#e6e7e4",
    "body_text_color_subdued": "*neutral_500",
    "body_text_color_subdued_dark": "#9ea29d",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "#333733",
    "block_background_fill": "*background_fill_primary",
    "block_background_fill_dark": "*background_fill_primary",
    "block_border_width": "1px",
    "block_shadow": "none",
    "block_label_text_weight": "600",
    "block_title_text_weight": "600",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "#d4d6d2",
    "block_title_text_size": "*text_sm",
    "block_info_text_size": "*text_sm",
    "block_info_text_color": "*neutral_500",
    "block_info_text_color_dark": "#9ea29d",
    "input_background_fill": "#ffffff",
    "input_background_fill_dark": "#131514",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "#444944",
    "input_border_width": "1px",
    "input_border_color_focus": "*primary_500",
    "input_shadow_focus": "0 0 0 3px color-mix(in srgb, var(--primary-500) 22%, transparent)",
    "button_primary_background_fill": "*neutral_800",
    "button_primary_background_fill_hover": "*neutral_700",
    "button_primary_background_fill_dark": "#e6e7e4",
    "button_primary_background_fill_hover_dark": "#ffffff",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#181a19",
    "button_secondary_background_fill": "#ffffff",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_dark": "#1f2220",
    "button_secondary_background_fill_hover_dark": "#2a2e2b",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "#444944",
    "button_border_width": "1px",
    "button_cancel_background_fill": "#b42318",
    "button_cancel_background_fill_hover": "#912018",
    "button_cancel_background_fill_dark": "#c4372b",
    "button_cancel_background_fill_hover_dark": "#d8493c",
    "button_cancel_text_color": "#ffffff",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "link_text_color": "*primary_600",
    "link_text_color_dark": "*primary_300",
    "link_text_color_hover": "*primary_700",
    "link_text_color_hover_dark": "*primary_200",
    "link_text_color_visited": "*primary_600",
    "link_text_color_visited_dark": "*primary_300",
    "slider_color": "*primary_500",
    "checkbox_background_color_selected": "*primary_600",
    "checkbox_background_color_selected_dark": "*primary_500",
    "checkbox_border_color_selected": "*primary_600",
    "checkbox_label_background_fill_selected": "*primary_50",
    "checkbox_label_background_fill_selected_dark": "*primary_950",
    "checkbox_label_border_color_selected": "*primary_500",
}
"""Theme settings other than hues, sizes and fonts; the suffix `_dark` is for dark mode."""


class Theme(gr.themes.Base):
    """Black on white with a teal accent for links and focus; other colours are reserved for the methods."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=TEAL, secondary_hue=INK, neutral_hue=INK, text_size=TEXT, font=SANS, font_mono=MONO
        )
        self.name = "hypo"
        self.set(**_LOOK)


def css() -> str:
    """The style sheet, preceded by the methods' colours as variables."""
    light = "".join(_variables(name, role.light) for name, role in ROLES.items())
    dark = "".join(_variables(name, role.dark) for name, role in ROLES.items())
    look = "".join(_look(name) for name in ROLES) + "".join(map(_hidden, _groups_of_readers()))
    return f":root {{ {light} }}\n.dark {{ {dark} }}\n{look}\n{STYLE_SHEET.read_text(encoding='utf-8')}"


def _look(name: str) -> str:
    """The colour of a method's badge and of its bar in a ranking; a run has its own shade, `--hy-run`."""
    colour = f"var(--hy-run, var(--hy-{name}))"
    badge = f".hy-method.hy-{name} b {{ background: {colour}; }}"
    return f"{badge} .hy-strength.hy-of-{name} {{ --tone: {colour}; }}\n"


def _hidden(methods: Sequence[Method]) -> str:
    """Hide fields of the launch form while none of the methods that read them is chosen."""
    chosen = ", ".join(f'[name="{method}"]' for method in methods)
    none = f"body:not(:has(#field-method input:is({chosen}):checked))"
    return f"{none} .hy-for-{'-'.join(methods)} {{ display: none !important; }}\n"


def _groups_of_readers() -> list[list[Method]]:
    """Every group of methods that reads fields, or a section, which the other methods do not read."""
    sections: dict[str, list[str]] = {}
    for name, field in TrainConfig.model_fields.items():
        extra: Any = field.json_schema_extra
        sections.setdefault(extra["group"] if extra else "other", []).append(name)
    together = [*([name] for name in TrainConfig.model_fields), *sections.values()]
    groups = [tuple(m for m in Method if any(applies(name, m) for name in names)) for names in together]
    return [list(group) for group in dict.fromkeys(groups) if len(group) < len(Method)]


def _variables(name: str, shades: tuple[str, ...]) -> str:
    """CSS variables of a method: `--hy-dpo` is its colour, `--hy-dpo-1` and up are its other shades."""
    numbered = (f"--hy-{name}-{i}: {shade};" for i, shade in enumerate(shades) if i)
    return f"--hy-{name}: {shades[0]};" + "".join(numbered)


def head() -> str:
    """Raw HTML for the page's head, because Gradio rewrites the selectors of its `css` option."""
    frame = FRAME.read_text(encoding="utf-8")
    return f'<style>{frame}</style><script src="{_address(SCRIPT)}" defer></script>'


def first_script() -> str:
    """The script that sets the chosen theme, as HTML for the head of the page as it is served.

    What `head` returns is inserted when Gradio has loaded, after the first paint. A style hides the
    spinner until Gradio has added the navigation, which would push it down.
    """
    return f'<script src="{_address(FIRST_SCRIPT)}"></script><style>{_UNTIL_NAVIGATION}</style>'


_UNTIL_NAVIGATION: Final = "gradio-app:not(:has(.nav-holder)) :is(.main, .wrap) { visibility: hidden; }"


def _address(script: Path) -> str:
    """A script's address, relative to a page; it changes with its content."""
    return f"{script.name}?v={hashlib.sha256(script.read_bytes()).hexdigest()[:12]}"
