"""The database: one table, and the connections of the interpreter that imports this.

Each interpreter has its own copy of this module, so its own engine and its own connections.
"""

import atexit
import os
from datetime import datetime

from sqlalchemy import create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

URL = os.environ.get("DATABASE_URL", "postgresql+psycopg:///words")

# A worker answers requests on threads, four more than there are CPUs.  Beyond the five connections
# that it keeps, it opens up to ten for a moment.
engine = create_engine(
    URL, pool_size=5, pool_pre_ping=True, connect_args={"application_name": "flask_site"}
)
# Runs when the interpreter is closed, as at the end of a process.
atexit.register(engine.dispose)
sessions = sessionmaker(engine)


class Base(DeclarativeBase):
    """What all tables have in common."""


class Word(Base):
    """A word that somebody has typed."""

    __tablename__ = "words"

    id: Mapped[int] = mapped_column(primary_key=True)
    typed: Mapped[str]
    meant: Mapped[str | None]
    worker: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
