"""Apps that a project might serve."""


async def application(scope, receive, send):
    pass


async def other(scope, receive, send):
    pass
