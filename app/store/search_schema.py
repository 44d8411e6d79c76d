"""The database's own word indexes: of finished generations, and of prompts.

SQLite keeps them in FTS5 tables, PostgreSQL in tables with a `tsvector` and a GIN index. Triggers write them,
so no writer can forget one. A text counts as finished when its generation is over: one that still grows is
not indexed at every token.

The tables are not models. SQLAlchemy cannot describe an FTS5 table, and nothing but a search reads them. They
are created after the models' tables, by the migration and by `create_all`, and `drop_all` drops them first.

Rows up to `search_backfill.next_id` are older than the index and wait for search_backfill.py; SQLite's
triggers leave them alone. A table that SQLite makes anew (Alembic's batch mode) loses its triggers: call
`create` after that. Prompts are never changed nor deleted, so their index has no triggers for that.
"""

from typing import Any, Final

from sqlalchemy import Connection, MetaData, event

from app.store.base import Base
from app.store.search_words import PUNCTUATION

GENERATIONS: Final = "generation_words"
PROMPTS: Final = "prompt_words"
TABLES: Final = (GENERATIONS, PROMPTS)

_OVER: Final = "('finished', 'stopped')"
_WAITING: Final = "coalesce((SELECT next_id FROM search_backfill WHERE name = '{}'), 0)"

MOST_CHARS: Final = 100_000
"""Characters of a text that PostgreSQL indexes; a `tsvector` has a limit of 1 MB."""


def holds(table: str | None) -> bool:
    """Whether a table belongs to the word indexes; FTS5 keeps each of its own in several."""
    return table is not None and table.startswith(TABLES)


def create(connection: Connection) -> None:
    """Create the word indexes, as far as they do not exist, and their triggers anew."""
    for statement in _statements(connection):
        connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    """Drop the word indexes with their triggers."""
    on_sqlite = connection.dialect.name == "sqlite"
    for statement in _DROP_SQLITE if on_sqlite else _DROP_POSTGRESQL:
        connection.exec_driver_sql(statement)


def _statements(connection: Connection) -> tuple[str, ...]:
    return _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL


@event.listens_for(Base.metadata, "after_create")
def _after_create(_metadata: MetaData, connection: Connection, **given: Any) -> None:
    if given["tables"]:  # those that did not exist
        create(connection)


@event.listens_for(Base.metadata, "before_drop")
def _before_drop(_metadata: MetaData, connection: Connection, **_given: Any) -> None:
    drop(connection)


# --- SQLite ----------------------------------------------------------------------------------

_WORDS_AS_THEY_ARE: Final = 'tokenize = "unicode61 remove_diacritics 0", columnsize = 0'

PROMPT_TEXT_SQLITE: Final = """CASE json_type({0}.content)
    WHEN 'text' THEN json_extract({0}.content, '$')
    WHEN 'array' THEN (
        SELECT group_concat(json_extract(message.value, '$.content'), char(10))
        FROM json_each({0}.content) AS message
    )
END"""
"""The text of a prompt, which is a string or a list of messages."""

_SQLITE_TRIGGERS: Final = (
    f"""CREATE TRIGGER generation_words_added AFTER INSERT ON generations
WHEN new.status IN {_OVER} AND new.id > {_WAITING.format("generations")} BEGIN
    INSERT INTO generation_words(rowid, text) VALUES (new.id, new.text);
END""",
    f"""CREATE TRIGGER generation_words_changed AFTER UPDATE OF text, status ON generations
WHEN (old.status IN {_OVER} OR new.status IN {_OVER}) AND new.id > {_WAITING.format("generations")} BEGIN
    INSERT INTO generation_words(generation_words, rowid, text)
    SELECT 'delete', old.id, old.text WHERE old.status IN {_OVER};
    INSERT INTO generation_words(rowid, text) SELECT new.id, new.text WHERE new.status IN {_OVER};
END""",
    f"""CREATE TRIGGER generation_words_deleted AFTER DELETE ON generations
WHEN old.status IN {_OVER} AND old.id > {_WAITING.format("generations")} BEGIN
    INSERT INTO generation_words(generation_words, rowid, text) VALUES ('delete', old.id, old.text);
END""",
    f"""CREATE TRIGGER prompt_words_added AFTER INSERT ON prompts
WHEN new.id > {_WAITING.format("prompts")} BEGIN
    INSERT INTO prompt_words(rowid, text) VALUES (new.id, {PROMPT_TEXT_SQLITE.format("new")});
END""",
)
TRIGGERS: Final = (
    "generation_words_added",
    "generation_words_changed",
    "generation_words_deleted",
    "prompt_words_added",
)
"""Names of SQLite's triggers."""

_SQLITE: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS generation_words USING fts5"
    f"(text, content = 'generations', content_rowid = 'id', {_WORDS_AS_THEY_ARE})",
    f"CREATE VIRTUAL TABLE IF NOT EXISTS prompt_words USING fts5(text, content = '', {_WORDS_AS_THEY_ARE})",
    *(f"DROP TRIGGER IF EXISTS {name}" for name in TRIGGERS),
    *_SQLITE_TRIGGERS,
)
_DROP_SQLITE: Final = (
    *(f"DROP TRIGGER IF EXISTS {name}" for name in TRIGGERS),
    *(f"DROP TABLE IF EXISTS {name}" for name in TABLES),
)

# --- PostgreSQL ------------------------------------------------------------------------------

_SEPARATORS: Final = PUNCTUATION.replace("'", "''").replace("%", "%%")
"""As an SQL literal. PostgreSQL would read `a.b/c` as one word, and a word with its quotation marks."""

_WORDS_OF: Final = f"""CREATE OR REPLACE FUNCTION words_of(given text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN to_tsvector(
        'pg_catalog.simple',
        translate(left(given, {MOST_CHARS}), '{_SEPARATORS}', repeat(' ', {len(PUNCTUATION)}))
    );
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN ''::tsvector;  -- too many different words: it is stored, and not found by them
END $$"""

_PROMPT_TEXT: Final = """CREATE OR REPLACE FUNCTION prompt_text(content json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE json_typeof(content)
        WHEN 'string' THEN content #>> '{}'
        WHEN 'array' THEN (
            SELECT string_agg(message ->> 'content', chr(10)) FROM json_array_elements(content) AS message
        )
    END;
EXCEPTION WHEN data_exception THEN
    RETURN '';  -- JSON may hold a NUL or half a surrogate pair, text may not
END $$"""

_KEEP_GENERATION: Final = """CREATE OR REPLACE FUNCTION keep_generation_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO generation_words (generation_id, words) VALUES (new.id, words_of(new.text))
    ON CONFLICT (generation_id) DO UPDATE SET words = excluded.words;
    RETURN NULL;
END $$"""

_KEEP_PROMPT: Final = """CREATE OR REPLACE FUNCTION keep_prompt_words() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO prompt_words (prompt_id, words) VALUES (new.id, words_of(prompt_text(new.content)))
    ON CONFLICT (prompt_id) DO UPDATE SET words = excluded.words;
    RETURN NULL;
END $$"""

_POSTGRESQL: Final = (
    _WORDS_OF,
    _PROMPT_TEXT,
    "CREATE TABLE IF NOT EXISTS generation_words (generation_id integer PRIMARY KEY "
    "REFERENCES generations (id) ON DELETE CASCADE, words tsvector NOT NULL)",
    "CREATE TABLE IF NOT EXISTS prompt_words (prompt_id integer PRIMARY KEY "
    "REFERENCES prompts (id) ON DELETE CASCADE, words tsvector)",
    *(f"CREATE INDEX IF NOT EXISTS ix_{name}_words ON {name} USING gin (words)" for name in TABLES),
    _KEEP_GENERATION,
    _KEEP_PROMPT,
    "DROP TRIGGER IF EXISTS generation_words_kept ON generations",
    "CREATE TRIGGER generation_words_kept AFTER INSERT OR UPDATE OF text, status ON generations "
    f"FOR EACH ROW WHEN (new.status IN {_OVER}) EXECUTE FUNCTION keep_generation_words()",
    "DROP TRIGGER IF EXISTS prompt_words_kept ON prompts",
    "CREATE TRIGGER prompt_words_kept AFTER INSERT ON prompts "
    "FOR EACH ROW EXECUTE FUNCTION keep_prompt_words()",
)
_DROP_POSTGRESQL: Final = (
    "DROP TRIGGER IF EXISTS generation_words_kept ON generations",
    "DROP TRIGGER IF EXISTS prompt_words_kept ON prompts",
    *(f"DROP TABLE IF EXISTS {name}" for name in TABLES),
    "DROP FUNCTION IF EXISTS keep_generation_words()",
    "DROP FUNCTION IF EXISTS keep_prompt_words()",
    "DROP FUNCTION IF EXISTS prompt_text(json)",
    "DROP FUNCTION IF EXISTS words_of(text)",
)
