"""One cell: measures one case of one pool, and writes what it finds to a file, line by line.

    python bench/cell.py CASE PEER SETTINGS FILE

Each line is a JSON object: a measurement's name with its value and the number of calls, or with
what was refused.  A process that hangs or dies leaves behind what it had found until then.
Worker processes import this file again, so it imports nothing at the top.
"""


def main() -> None:
    import json
    import sys
    from pathlib import Path

    from cases import Settings
    from measure import Bench, WrongResultError
    from peers import BY_KEY

    case, key, settings, path = sys.argv[1:]
    with Path(path).open("w", buffering=1) as file:

        def write(**found: object) -> None:
            file.write(json.dumps(found) + "\n")

        def emit(name: str, value: float, calls: int) -> None:
            write(name=name, value=value, calls=calls)

        def refuse(name: str | None, error: BaseException) -> None:
            write(name=name, refused=type(error).__name__, detail=str(error)[:300])

        try:
            options = json.loads(settings)
            options["sizes"] = tuple(options["sizes"])
            bench = Bench(BY_KEY[key], Settings(**options), emit, refuse)
            bench.run("await_" if case == "await" else case)
        except WrongResultError:
            write(name=None, wrong=True)
        except Exception as error:  # noqa: BLE001 - each kind is an answer, and goes into the table
            refuse(None, error)


if __name__ == "__main__":
    main()
