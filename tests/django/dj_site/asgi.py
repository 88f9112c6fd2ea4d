from dj_asgi import application

__all__ = ["application"]
