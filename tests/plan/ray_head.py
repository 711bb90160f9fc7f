"""A Ray cluster that somebody else started, and who listens on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

# For this machine only.
ENV = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
# A key of its own, so that none is put into the home of who runs the tests.
KEY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}


class Head(NamedTuple):
    """Where a cluster is."""

    address: str
    client: str


@contextmanager
def running():
    """A head with two workers, in processes of its own; this process is connected to it."""
    ray = pytest.importorskip("ray", reason="needs Ray")
    from ray._private import ray_constants

    ports = free(2)
    # What comes in by `ray://` brings no path along.
    paths = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    head = Head(f"127.0.0.1:{ports[0]}", f"ray://127.0.0.1:{ports[1]}")
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *("--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={ports[0]}"),
                *(f"--ray-client-server-port={ports[1]}", f"--temp-dir={folder}"),
                *("--include-dashboard=false", "--object-store-memory=80000000"),
            ],
            env={**os.environ, **ENV, **KEY, "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        clusters = ray_constants.ENABLE_RAY_CLUSTER
        ray_constants.ENABLE_RAY_CLUSTER = False
        try:
            answers(ports)
            ray.init(head.address, log_to_driver=False, logging_level="ERROR")
            yield head, child
        finally:
            ray.shutdown()
            ray_constants.ENABLE_RAY_CLUSTER = clusters
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            finally:
                end(child.pid)


def end(group):
    """What is left of the processes that a head started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def free(count):
    """Ports that nobody uses."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def answers(ports):
    """Waits until somebody listens there."""
    deadline = time.monotonic() + 60
    for port in ports:
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise TimeoutError("the head of the cluster does not answer")


def listening():
    """The places at which somebody on this machine listens, each with its port."""
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            if state == "0A":
                words = [address[i : i + 8] for i in range(0, len(address), 8)]
                raw = b"".join(bytes.fromhex(word)[::-1] for word in words)
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found
