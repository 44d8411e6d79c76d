"""Names that the app gave are translated; names that people gave are not."""

from app.i18n.language import speaking
from app.ui.campaigns.form import aspect_name
from app.ui.compare.names import model_name, origin_words


def test_the_reference_has_a_name_in_each_language() -> None:
    with speaking("ru"):
        assert model_name("reference", "Reference (run:3)") == "Референсная модель (run:3)"
    assert model_name("reference", "Reference (run:3)") == "Reference (run:3)"


def test_the_name_of_a_run_stays() -> None:
    with speaking("ru"):
        assert model_name("dpo", "Reference") == "Reference"


def test_a_usual_aspect_is_translated_and_one_that_was_typed_stays() -> None:
    with speaking("ru"):
        assert aspect_name("helpful") == "полезность"
        assert aspect_name("Saved.") == "Saved."


def test_a_base_model_named_like_a_text_of_the_app_stays() -> None:
    with speaking("ru"):
        assert origin_words("dpo", "demo", None) == "запуск удалён"
        assert origin_words("reference", "Saved.", None) == "Saved."
