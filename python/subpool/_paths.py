"""Which part of a value cannot be pickled."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEEPEST = 40
"""Levels to look into: deeper paths help nobody, and a recursion error is no help either."""


def find_culprit(
    name: str, value: object, dumps: Callable[[object], object], error: BaseException
) -> tuple[str, BaseException]:
    """Find the smallest part of `value` that `dumps` refuses.

    Gives its path, beginning with `name`, and the exception it is refused with.
    """
    seen = {id(value)}
    for _ in range(_DEEPEST):
        try:
            found = next(_culprits(value, seen, dumps), None)
        except Exception:  # noqa: BLE001 - a user's __getattribute__ or __class__ may raise anything
            break  # it cannot be looked into, so this is as near as one gets
        if found is None:
            break
        suffix, value, error = found
        seen.add(id(value))
        name += suffix
    return name, error


def _culprits(
    value: object, seen: set[int], dumps: Callable[[object], object]
) -> Iterator[tuple[str, object, BaseException]]:
    for suffix, part in _parts(value):
        if id(part) not in seen:
            refusal = _refusal(part, dumps)
            if refusal is not None:
                yield suffix, part, refusal


def _refusal(part: object, dumps: Callable[[object], object]) -> BaseException | None:
    try:
        dumps(part)
    except Exception as refusal:  # noqa: BLE001 - this is what is being looked for
        return refusal
    return None


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """Give the parts of containers and plain objects, with how one would write them."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{_short(key)}]", item
        for key in list(value):
            yield f".keys(), key {_short(key)}", key
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, set | frozenset):
        for item in list(value):
            yield f", element {_short(item)}", item
    else:
        yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, partial):
        yield ".func", value.func
        yield from ((f".args{suffix}", item) for suffix, item in _parts(value.args))
        yield from ((f".keywords{suffix}", item) for suffix, item in _parts(value.keywords))
    elif callable(value) and hasattr(value, "__self__"):
        yield ".__self__", value.__self__
    elif not isinstance(value, type):
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            yield from ((f".{name}", item) for name, item in list(attributes.items()))


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - a line's worth
