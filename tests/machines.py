"""Machines on this one: each has a name, network interfaces and addresses of its own (namespaces of Linux), and a cable
to each server that can be pulled.

    with Machine("hub") as hub, Machine("host-1") as host:
        cable = Cable(hub, host, "10.77.0.1", 1)
        Process([], host.program + "...")
        cable.pull()
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: what a machine has of its own (unshare(2)), and where Linux has them
NEW_NETWORK, NEW_NAME = 0x40000000, 0x04000000
KINDS = ("net", "uts")
#: how a program of `tests.processes` begins that is to be on a machine
ENTER = """
import ctypes, os
for path in {paths}:
    assert ctypes.CDLL(None).setns(os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0) == 0, path
"""
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A machine, which is gone with its last process once it is closed."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: descriptors of its network and its name
        self._kinds: list[int] = []
        trouble: list[OSError] = []

        def make() -> None:
            try:
                _done(_libc.unshare(NEW_NETWORK | NEW_NAME))
                socket.sethostname(name)
                self._kinds += _kinds_of_this_thread()
            except OSError as error:
                trouble.append(error)

        thread = threading.Thread(target=make)  # which alone is on that machine, until it ends
        thread.start()
        thread.join()
        if trouble:
            raise trouble[0]
        self.configure("link set dev lo up")

    @property
    def network(self) -> int:
        """Descriptor of its network."""
        return self._kinds[0]

    @property
    def program(self) -> str:
        """The lines by which a program gets there, as long as this process lives."""
        return ENTER.format(paths=[f"/proc/{os.getpid()}/fd/{one}" for one in self._kinds])

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread be on it: what it starts stays there, and so do the sockets that it opens."""
        before = _kinds_of_this_thread()
        try:
            _enter(self._kinds)
            yield
        finally:
            _enter(before)
            for one in before:
                os.close(one)

    def configure(self, *commands: str, using: Machine | None = None) -> None:
        """Run commands of `ip`, which may name the network of another machine as {0}."""
        lines = "\n".join(commands).format(f"/proc/self/fd/{using.network}" if using else "")
        with self.inside():
            subprocess.run(
                ["ip", "-batch", "-"],
                input=lines,
                text=True,
                check=True,
                capture_output=True,
                pass_fds=[using.network] if using else [],
            )

    def close(self) -> None:
        for one in self._kinds:
            os.close(one)
        self._kinds = []

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class Cable:
    """A cable from a machine to an address of the hub.

    Args:
        address: of the hub, through 10.*; it may have several.
        number: of the cable, from 1 to 254.
    """

    def __init__(self, hub: Machine, machine: Machine, address: str, number: int) -> None:
        self._hub, self._end = hub, f"cable{number}"
        #: of the machine
        self.source = f"10.78.{number}.2"
        hub.configure(
            f"address replace {address}/32 dev lo",
            f"link add {self._end} type veth peer name eth{number} netns {{0}}",
            f"address add 10.78.{number}.1/30 dev {self._end}",
            f"link set dev {self._end} up",
            using=machine,
        )
        machine.configure(
            f"address add {self.source}/30 dev eth{number}",
            f"link set dev eth{number} up",
            f"route add {address}/32 via 10.78.{number}.1",
        )

    def pull(self) -> None:
        """Let nothing pass any more: neither end hears of it."""
        self._hub.configure(f"link set dev {self._end} down")

    def plug(self) -> None:
        """Let everything pass again."""
        self._hub.configure(f"link set dev {self._end} up")


def demand_machines() -> None:
    """Skip the test if there can be no such machines."""
    try:
        Machine("probe").close()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"only root can make network namespaces ({error})")


def _done(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _kinds_of_this_thread() -> list[int]:
    return [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KINDS]


def _enter(kinds: list[int]) -> None:
    for one in kinds:
        _done(_libc.setns(one, 0))
