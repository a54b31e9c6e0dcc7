"""What a person would use instead: mkfs.erofs of the unpacked image, and ctr-remote's eStargz."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from conversion_bench.account import Account, Cost
from sandbox import images
from sandbox.containerd import Containerd, run

# Unpacks the gzip layers in $3 and so on into $1, and makes $2 of it. Whiteouts stay as files. The
# zeros are for tar, which wants to see an end where some builders write none.
_EROFS = """out=$1 image=$2; shift 2
for each; do { gzip -dc "$each"; head -c 10240 /dev/zero; } | tar -C "$out" -xf -; done
exec mkfs.erofs %s "$image" "$out" """


# By the program that a side needs, where it comes from.
INSTALLED_BY = {"mkfs.erofs": "erofs-utils", "ctr-remote": "stargz-snapshotter"}


def absent() -> dict[str, str]:
    """The programs that are not there, and what is to be said of them: they are not left out in silence."""
    return {program: f"not installed (Debian's package {package}), and so not measured"
            for program, package in INSTALLED_BY.items() if shutil.which(program) is None}


def measure(layout: Path, directory: Path, rounds: int) -> dict[str, tuple[list[Cost], list[int]]]:
    found: dict[str, tuple[list[Cost], list[int]]] = {}
    sides: dict[str, Callable[[Path], tuple[Cost, int]]] = {}
    if shutil.which("mkfs.erofs"):
        sides["mkfs.erofs, plain"] = lambda at: erofs(layout, at, "")
        sides["mkfs.erofs -zlz4hc"] = lambda at: erofs(layout, at, "-zlz4hc")
    if shutil.which("ctr-remote"):
        sides["ctr-remote images optimize"] = lambda at: estargz(layout, at)
    for _ in range(rounds):
        for name, side in sides.items():
            directory.mkdir(parents=True)
            run(["sync"])
            cost, size = side(directory)
            print(f"   {name}: {cost}, {size} bytes", flush=True)
            costs, sizes = found.setdefault(name, ([], []))
            costs.append(cost)
            sizes.append(size)
            shutil.rmtree(directory)
    return found


def erofs(layout: Path, directory: Path, options: str) -> tuple[Cost, int]:
    tree, image = directory / "tree", directory / "image.erofs"
    tree.mkdir()
    layers = [str(images.blob_path(layout, layer["digest"]))
              for layer in images.read_layout(layout)["layers"]]
    with Account() as account:
        account.begin()
        run(account.argv(["/bin/sh", "-euc", _EROFS % options, "sh", str(tree), str(image), *layers]))
        return account.cost(), image.stat().st_size


def estargz(layout: Path, directory: Path) -> tuple[Cost, int]:
    """As it is by default, but for the container that it would run to learn an order."""
    with Account() as account:
        containerd = CountedContainerd(directory / "containerd", account)
        containerd.start()
        try:
            archive = directory / "image.tar"
            run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{layout}:latest",
                 f"oci-archive:{archive}:bench.test/image:latest"])
            containerd.ctr("images", "import", "--no-unpack", str(archive))
            archive.unlink()
            before = containerd.content_bytes()
            account.begin()
            run(account.argv(containerd._ctr(
                "images", "optimize", "--oci", "--no-optimize", "bench.test/image:latest",
                "bench.test/image:estargz", client="ctr-remote")), seconds=1800)
            return account.cost(), containerd.content_bytes() - before
        finally:
            containerd.stop()


class CountedContainerd(Containerd):
    def __init__(self, directory: Path, account: Account):
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.account = account

    def argv(self) -> list[str]:
        return self.account.argv(super().argv())
