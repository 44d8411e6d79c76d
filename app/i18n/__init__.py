"""The app's texts in the language of the person who reads them.

Code calls `_()` with the English text, which is also the key of the catalogues in `app/i18n/<language>/`.
Sentences raised below the pages stay English and are recognised by `in_language` when they are shown.
"""

from app.i18n.sentences import in_language
from app.i18n.texts import N_, _, _html, _n

__all__ = ["N_", "_", "_html", "_n", "in_language"]
