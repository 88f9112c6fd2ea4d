"""What else one can use in an interpreter, for libraries that cannot load there.

Each entry was tried. Names are those of the distributions, as PyPI normalises them.
"""

from __future__ import annotations

_ADVICE = {
    "cffi": "ctypes loads in interpreters.",
    "cryptography": "hashlib, hmac and secrets load in interpreters.",
    "faulthandler": "Enable it in the main interpreter: its handlers are the process's.",
    "greenlet": "threading and asyncio load in interpreters.",
    "httptools": "h11 loads in interpreters.",
    "lxml": "xml.etree.ElementTree loads in interpreters.",
    "msgspec": "json and dataclasses load in interpreters.",
    "numpy": "The memory of an array can be passed as memoryview(array), without a copy.",
    "orjson": "json loads in interpreters.",
    "psycopg-binary": "psycopg without it is pure Python, and loads (PSYCOPG_IMPL=python).",
    "psycopg-c": "psycopg without it is pure Python, and loads (PSYCOPG_IMPL=python).",
    "psutil": "os and resource load in interpreters.",
    "pydantic-core": "dataclasses load in interpreters; validate before, and pass plain data.",
    "pyyaml": "yaml.SafeLoader and yaml.SafeDumper are pure Python, and load.",
    "sqlalchemy": "SQLAlchemy 2.0 loads without its compiled part, and so does 2.1 without "
    "its own (DISABLE_SQLALCHEMY_CEXT=1 pip install --no-binary sqlalchemy sqlalchemy).",
    "ujson": "json loads in interpreters.",
    "uvloop": "asyncio's own event loop loads in interpreters.",
}


def advice_for(distribution: str) -> str:
    """Give a sentence on what to use in the place of a distribution; empty if none is known."""
    return _ADVICE.get(distribution.lower().replace("_", "-").replace(".", "-"), "")
