"""Runnel's conversion: the service in the registry, and the command."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

from conversion_bench.account import Account, Cost
from sandbox import images, services
from sandbox.containerd import run

ASK = b'{"conversionFormat": "overlaybd", "conversionVersion": "v1"}'
ENDED = ("Succeeded", "Failed", "Canceled")
# A question takes both ends a millisecond or two, which the conversion misses.
ASK_SECONDS = 0.05


class BenchError(Exception):
    """A conversion did not do what is measured."""


class CountedRegistry(services.Registry):
    """A registry with its workers, on an account."""

    def __init__(self, directory: Path, sampled: bool = True):
        super().__init__(directory)
        self.account = Account(sampled)

    def _argv(self) -> list[str]:
        return self.account.argv(super()._argv())

    def stop(self) -> None:
        super().stop()
        self.account.close()

    def push(self, layout: Path, name: str) -> str:
        """Its digest there."""
        images.push(layout, f"{self.host}/{name}")
        return images.manifest_of(f"{self.host}/{name}")[0]

    def convert(self, repository: str, digest: str) -> Cost:
        """From the request until the operation says Succeeded."""
        self.account.begin()
        status, _, body = images.request(
            f"http://{self.host}/acr/v1/{repository}/_streaming/{digest}", "POST",
            {"Content-Type": "application/json"}, ASK)
        if status != 202:
            raise BenchError(f"the registry answered {status} {body[:200]!r}")
        operation = f"http://{self.host}/acr/v1/{repository}/_operations/{json.loads(body)['id']}"
        while (state := json.loads(images.request(operation)[2]))["status"] not in ENDED:
            time.sleep(ASK_SECONDS)
        cost = self.account.cost()
        if state["status"] != "Succeeded":
            raise BenchError(f"the conversion ended as {state}")
        return cost

    def layers_of_last_conversion(self) -> tuple[int, int]:
        """Converted, reused."""
        said = re.findall(r"(\d+) layers converted, (\d+) reused", self.daemon.log.read_text())
        return int(said[-1][0]), int(said[-1][1])

    def artifact_sizes(self, repository: str, digest: str) -> tuple[int, int]:
        """Of the layer blobs together, and of the boot blob."""
        found = images.referrers(f"{self.host}/{repository}@{digest}")
        if not found:
            raise BenchError(f"{repository}@{digest} has no artifact")
        _, manifest = images.manifest_of(f"{self.host}/{repository}@{found[0]['digest']}")
        boot = {layer["digest"]: layer["size"] for layer in manifest["layers"]
                if "boot" in layer["mediaType"]}
        blobs = {layer["digest"]: layer["size"] for layer in manifest["layers"]
                 if layer["digest"] not in boot}
        return sum(blobs.values()), sum(boot.values())


class Store:
    """A registry's data with images in it, of which each run gets a copy: nothing is converted yet."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.copies = 0
        registry = CountedRegistry(directory / "filled")
        self._filled = registry.directory / "data"
        self._registry: CountedRegistry | None = registry.start()

    def push(self, layout: Path, name: str) -> str:
        if self._registry is None:
            raise BenchError("the store is closed")
        return self._registry.push(layout, name)

    def close(self) -> None:
        if self._registry is not None:
            self._registry.stop()
            self._registry = None

    def fresh(self, sampled: bool = True) -> CountedRegistry:
        """Blobs never change, so they are linked: every run reads the same pages."""
        self.close()
        self.copies += 1
        registry = CountedRegistry(self.directory / f"copy-{self.copies}", sampled)
        data = registry.directory / "data"
        shutil.copytree(self._filled, data, ignore=shutil.ignore_patterns("content"))
        run(["cp", "-al", str(self._filled / "content"), str(data / "content")])
        return registry.start()

    def drop(self, registry: CountedRegistry) -> None:
        registry.stop()
        shutil.rmtree(registry.directory)


def convert_with_command(registry: CountedRegistry, name: str) -> Cost:
    """`runnel convert`; the registry's part is in the processor seconds, not in the memory."""
    registry.account.begin()
    with Account(registry.account.sampled) as account:
        run(account.argv([services.program(), "convert", f"{registry.host}/{name}"]))
        cost = account.cost()
    cost.cpu_seconds += registry.account.cost().cpu_seconds
    return cost
