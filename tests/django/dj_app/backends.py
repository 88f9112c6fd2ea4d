from subpool.integrations.django import InterpreterBackend


class Own(InterpreterBackend):
    """A project's own one: it is what signals come from."""
