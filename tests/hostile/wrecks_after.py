"""Functions that a worker has not imported yet when it is wrecked."""

import os


def say_and_spin(writer):
    os.write(writer, b"r")
    while True:
        pass


def spin():
    while True:
        pass
