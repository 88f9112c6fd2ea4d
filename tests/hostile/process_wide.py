"""What a task can do to its process. Workers import this."""

import os


def close_all():
    os.closerange(3, 1024)


def change_directory():
    os.chdir("/")
    os.umask(0o077)


def change_environment():
    os.environ.clear()


def no_more_files():
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def interrupt_main():
    import _thread

    _thread.interrupt_main()


def signal_itself():
    import signal

    os.kill(os.getpid(), signal.SIGINT)


def exit_at_once():
    os._exit(7)


def abort():
    os.abort()
