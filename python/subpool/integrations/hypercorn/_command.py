"""The command line of ``subpool serve``: Hypercorn's own, under the same names, and ours."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpool.integrations.hypercorn import _lazy
from subpool.integrations.hypercorn._workers import KINDS

if TYPE_CHECKING:
    import ssl

    from hypercorn.config import Config

_USAGE = 2  # argparse's own exit code

# Flags, the attribute of Hypercorn's configuration, the type of the value (``bool``: a switch,
# ``list``: may be given several times), and the help.
_FLAGS: list[tuple[tuple[str, ...], str, Any, str]] = [
    (("-b", "--bind"), "bind", list, "host:port, host, unix:path or fd://number to listen on"),
    (("--insecure-bind",), "insecure_bind", list, "the same, without TLS beside binds with it"),
    (("--quic-bind",), "quic_bind", list, "the same, for QUIC"),
    (("-w", "--workers"), "workers", int, "how many workers (default: 1)"),
    (("-k", "--worker-class"), "worker_class", str, "asyncio, or uvloop with processes"),
    (("--reload",), "use_reloader", bool, "replace the workers when a file of the app changes"),
    (("--max-requests",), "max_requests", int, "replace a worker after so many requests"),
    (("--max-requests-jitter",), "max_requests_jitter", int, "and up to so many more, at random"),
    (("--graceful-timeout",), "graceful_timeout", int, "seconds for requests to finish at the end"),
    (("--read-timeout",), "read_timeout", int, "seconds before a read from a client times out"),
    (("--keep-alive",), "keep_alive_timeout", int, "seconds to keep an idle connection"),
    (("--backlog",), "backlog", int, "the most connections that wait to be accepted"),
    (("--root-path",), "root_path", str, "the root_path of ASGI"),
    (("--server-name",), "server_names", list, "a host name to serve; others get 404"),
    (("--websocket-ping-interval",), "websocket_ping_interval", int, "seconds between pings"),
    (("--access-logfile",), "accesslog", str, "the access log's file; - for standard output"),
    (("--access-log",), "accesslog", str, argparse.SUPPRESS),
    (("--access-logformat",), "access_log_format", str, "the access log's format"),
    (("--error-logfile", "--log-file"), "errorlog", str, "the error log's file; - for stderr"),
    (("--error-log",), "errorlog", str, argparse.SUPPRESS),
    (("--log-config",), "logconfig", str, "a file for logging.config, or json:FILE or toml:FILE"),
    (("--log-level",), "loglevel", str, "the error log's level (default: info)"),
    (("--statsd-host",), "statsd_host", str, "host:port of a statsd server"),
    (("--statsd-prefix",), "statsd_prefix", str, "what its names begin with"),
    (("--certfile",), "certfile", str, "the certificate's file"),
    (("--keyfile",), "keyfile", str, "its key's file"),
    (("--keyfile-password",), "keyfile_password", str, "the key's password"),
    (("--ca-certs",), "ca_certs", str, "the file of the authorities' certificates"),
    (("--ciphers",), "ciphers", str, "the ciphers of TLS"),
    (("--cert-reqs",), "cert_reqs", int, argparse.SUPPRESS),
    (("--verify-mode",), "verify_mode", None, "a name of ssl.VerifyMode"),
    (("-g", "--group"), "group", int, "the group that owns unix sockets"),
    (("-u", "--user"), "user", int, "the user who owns unix sockets"),
    (("-m", "--umask"), "umask", int, "the umask of unix sockets"),
    (("-p", "--pid"), "pid_path", str, "a file for the process's number, removed at the end"),
    (("-D", "--daemon"), "daemon", bool, "taken and without effect: workers end with the server"),
    (("--debug",), "debug", bool, "asyncio's debug mode"),
]

_DEPRECATED = {"access_log": "--access-logfile", "error_log": "--error-logfile"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.description = (
        "Serve an ASGI or WSGI app with Hypercorn, its workers in interpreters of this process. "
        "SIGTERM and SIGINT end it gracefully, SIGHUP replaces the workers one after another."
    )
    parser.epilog = (
        "Exit code: 0 after a graceful end; 1 if the app failed at its start or its end; 2 if the "
        "command was used wrongly; 3 if the app needs a library that does not load in an "
        "interpreter; 4 if requests had to be cut off."
    )
    parser.add_argument("application", help="the app, as MODULE:APP")
    parser.add_argument(
        "--workers-kind", choices=["interpreter", "process"], default="interpreter",
        help="where workers run: interpreters of this process, or processes of their own",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--config", metavar="FILE",
        help="a TOML file, file:FILE for Python, or python:MODULE, as Hypercorn reads them",
    )  # fmt: skip
    for names, attribute, kind, what in _FLAGS:
        options: dict[str, Any] = {"help": what, "default": None}
        if kind is bool:
            options["action"] = "store_true"
        elif kind is list:
            options["action"] = "append"
        elif kind is not str:
            options["type"] = kind or _verify_mode
        if kind is not bool:
            options["metavar"] = attribute.rpartition("_")[2].upper()
        parser.add_argument(*names, **options)


def _verify_mode(name: str) -> ssl.VerifyMode:
    import ssl  # noqa: PLC0415 - it comes with the configuration, when workers have begun

    try:
        return ssl.VerifyMode[name]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{name!r} is no verify mode") from None


def run(options: argparse.Namespace) -> int:
    """Serve, and give the exit code."""
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _run(options)
    finally:
        KINDS[options.workers_kind].drop_prepared()


def _run(options: argparse.Namespace) -> int:
    if options.config is None:  # which may have another number
        KINDS[options.workers_kind].prepare(1 if options.workers is None else options.workers)
    try:
        from subpool.integrations.hypercorn import _main  # noqa: PLC0415 - the extra may be absent

        config = configuration(options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypercorn":
            raise
        _complain("it needs Hypercorn: pip install 'subpool[hypercorn]'")
        return _USAGE
    except (OSError, ValueError) as error:
        _complain(f"cannot read the configuration {options.config}: {error}")
        return _USAGE
    try:
        _main.check(config, options.workers_kind)
    except ValueError as error:
        _complain(str(error))
        return _USAGE
    return _main.serve(config, options.workers_kind, is_last=True)


def _complain(text: str) -> None:
    print(f"subpool serve: {text}", file=sys.stderr)  # noqa: T201 - a command


def configuration(options: argparse.Namespace) -> Config:
    """Read the configuration, and what the flags change in it."""
    config = _load(options.config)
    config.application_path = options.application
    for names, attribute, _, _ in _FLAGS:
        flag = _destination(names)
        value = getattr(options, flag)
        if value is None:
            continue
        if flag in _DEPRECATED:
            warnings.warn(
                f"--{flag.replace('_', '-')} is deprecated, use {_DEPRECATED[flag]}",
                DeprecationWarning,
                stacklevel=2,
            )
        setattr(config, attribute, value)
    return config


def _destination(names: tuple[str, ...]) -> str:
    long = next(name for name in names if name.startswith("--"))
    return long.removeprefix("--").replace("-", "_")


def _load(place: str | None) -> Config:
    with _lazy.Later():
        from hypercorn.config import Config  # noqa: PLC0415 - an extra

    if place is None:
        return Config()
    if place.startswith("python:"):
        try:
            return Config.from_object(place.removeprefix("python:"))
        except (AttributeError, ImportError, ValueError) as error:
            # Hypercorn tries the name as that of a module first.
            first = error.__context__
            raise ValueError(str(first if isinstance(first, ImportError) else error)) from error
    if place.startswith("file:"):
        return Config.from_pyfile(place.removeprefix("file:"))
    return Config.from_toml(place)
