"""A Flask site on PostgreSQL, with SQLAlchemy: words that were misspelt, and what was meant.

    createdb words
    flask --app app create-tables
    subpool serve app:app --workers 2               http://127.0.0.1:8000

Each worker is an interpreter with a copy of this module and connections of its own.  Needs flask,
psycopg, libpq and SQLAlchemy 2.0; 2.1 has to be installed without its compiled part, see
docs/serve.md.  DATABASE_URL names another database.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, abort, redirect, render_template, request, url_for
from sqlalchemy import select

from database import Base, Word, engine, sessions
from subpool.integrations.hypercorn import worker_number

# For spelling.py, which the other examples use as well.
sys.path.append(str(Path(__file__).resolve().parent.parent))
import spelling

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

LATEST = 20

app = Flask(__name__)


@app.cli.command("create-tables")
def create_tables() -> None:
    """Do this once, and not in each worker: they would get in each other's way."""
    Base.metadata.create_all(engine)


@app.after_request
def tell_worker(response: Response) -> Response:
    """Tell which worker has answered."""
    response.headers["X-Worker"] = str(worker_number())
    return response


def typed() -> str:
    """Give the word of the request; 400 if it is none."""
    word = request.values.get("word", "").strip().lower()
    if not re.fullmatch(r"[a-z]{3,40}", word):
        abort(400, "word: 3 to 40 letters")
    return word


@app.get("/")
def page() -> str:
    """Show the latest words."""
    with sessions() as session:
        words = session.scalars(select(Word).order_by(Word.id.desc()).limit(LATEST)).all()
    return render_template("page.html", words=words, worker=worker_number())


@app.post("/words")
def add() -> AnyResponse:
    """Find out what was meant, and note it."""
    word = typed()
    found = spelling.suggest(word, 1)
    with sessions.begin() as session:
        meant = found[0][0] if found else None
        session.add(Word(typed=word, meant=meant, worker=worker_number() or 0))
    return redirect(url_for("page"), 303)


@app.get("/words.json")
def words() -> list[dict[str, object]]:
    """Give all words."""
    with sessions() as session:
        return [
            {"id": one.id, "typed": one.typed, "meant": one.meant, "worker": one.worker}
            for one in session.scalars(select(Word).order_by(Word.id))
        ]


@app.get("/suggest")
def suggest() -> dict[str, object]:
    """Compute for 10 to 30 ms, in this worker's interpreter; the others do not wait for it."""
    word = typed()
    return {"word": word, "suggestions": [known for known, _ in spelling.suggest(word)]}
