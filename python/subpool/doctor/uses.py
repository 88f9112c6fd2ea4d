"""Small uses of libraries whose import alone proves nothing.

Each is run in the interpreter after the import. A use needs no network, no files and no settings,
takes next to no time, and reaches the library's compiled parts where it has such.
"""

from __future__ import annotations

USES = {
    "cffi": """
from cffi import FFI
ffi = FFI()
ffi.cdef("size_t strlen(const char *);")
assert ffi.dlopen(None).strlen(b"four") == 4
""",
    "cryptography": """
from cryptography.fernet import Fernet
box = Fernet(Fernet.generate_key())
assert box.decrypt(box.encrypt(b"text")) == b"text"
""",
    "django": """
from django.conf import settings
if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    )
import django
django.setup()
from django.db import connection
from django.http import HttpResponse
with connection.cursor() as cursor:
    cursor.execute("SELECT 6 * 7")
    assert cursor.fetchone() == (42,)
connection.close()
assert HttpResponse("text").content == b"text"
""",
    "flask": """
from flask import Flask
app = Flask("doctor")
app.get("/")(lambda: "text")
assert app.test_client().get("/").data == b"text"
""",
    "greenlet": """
from greenlet import greenlet
assert greenlet(lambda: 42).switch() == 42
""",
    "jinja2": """
from jinja2 import Template
assert Template("{{ x }}").render(x="<") == "<"
""",
    "lxml": """
from lxml import etree
assert etree.fromstring("<a><b/></a>")[0].tag == "b"
""",
    "markupsafe": """
from markupsafe import escape
assert escape("<") == "&lt;"
""",
    "msgspec": """
import msgspec
assert msgspec.json.decode(msgspec.json.encode([1])) == [1]
""",
    "numpy": """
import numpy
assert int(numpy.arange(4).sum()) == 6
""",
    "orjson": """
import orjson
assert orjson.loads(orjson.dumps([1])) == [1]
""",
    "pandas": """
import pandas
assert int(pandas.Series([1, 2]).sum()) == 3
""",
    "pillow": """
from PIL import Image
assert Image.new("L", (2, 2), 7).getpixel((1, 1)) == 7
""",
    "polars": """
import polars
assert polars.Series([1, 2]).sum() == 3
""",
    "protobuf": """
from google.protobuf.timestamp_pb2 import Timestamp
sent = Timestamp(seconds=42)
assert Timestamp.FromString(sent.SerializeToString()) == sent
""",
    "psutil": """
import psutil
assert psutil.Process().pid > 0
""",
    "psycopg": """
from psycopg import conninfo, sql
assert conninfo.conninfo_to_dict(conninfo.make_conninfo(dbname="x"))["dbname"] == "x"
assert sql.SQL("SELECT {}").format(sql.Literal(1)).as_string(None) == "SELECT 1"
""",
    "pyarrow": """
import pyarrow
assert pyarrow.array([1, 2])[1].as_py() == 2
""",
    "pydantic": """
from pydantic import TypeAdapter
assert TypeAdapter(int).validate_python("42") == 42
""",
    "pyyaml": """
import yaml
assert yaml.safe_load(yaml.safe_dump({"a": [1]})) == {"a": [1]}
""",
    "scipy": """
from scipy.linalg import det
assert round(det([[2.0, 0.0], [0.0, 3.0]])) == 6
""",
    "sqlalchemy": """
from sqlalchemy import create_engine, text
engine = create_engine("sqlite://")
with engine.connect() as connection:
    assert connection.execute(text("SELECT 6 * 7")).scalar() == 42
engine.dispose()
""",
    "uvloop": """
import asyncio
import uvloop
uvloop.run(asyncio.sleep(0))
""",
}

FIRST = {
    "psycopg-binary": "psycopg",
    "psycopg-c": "psycopg",
}
"""What must be imported before a distribution's own modules."""
