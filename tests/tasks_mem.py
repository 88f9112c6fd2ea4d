def nothing(): pass
def h11():
    import h11
def asyncio():
    import asyncio
def django():
    import django
    from django.conf import settings
    settings.configure(INSTALLED_APPS=["django.contrib.contenttypes","django.contrib.auth"])
    django.setup()
def starlette():
    import starlette.applications
def flask():
    import flask
def cloudpickle():
    import cloudpickle
def threads():
    import threading
    threading.Thread(target=print, args=("",), kwargs={"end":""}).start()
def hypercorn():
    import hypercorn.asyncio
def hypercorn_run():
    import asyncio
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    async def app(scope, receive, send): pass
    async def main():
        c=Config(); c.bind=["127.0.0.1:0"]; c.errorlog=None; c.loglevel="CRITICAL"
        e=asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, e.set)
        await serve(app,c,shutdown_trigger=e.wait)
    asyncio.run(main())
def decimal():
    import decimal
def typing():
    import typing
def sqlite3():
    import sqlite3; sqlite3.connect(":memory:").execute("select 1")
def json():
    import json
def ssl():
    import ssl; ssl.create_default_context()
