"""containerd 2.x: an image streams however it is pulled, and a container reads the right bytes."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from corpus import layers
from machine import Machine, succeeded
from sandbox import containerd2, services
from sandbox.containerd import CommandError, run

PROGRAMS = containerd2.find()
pytestmark = pytest.mark.skipif(isinstance(PROGRAMS, str), reason=str(PROGRAMS))

BUSYBOX = lambda t: t.directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
FILES = {f"data/{n}": random.Random(n).randbytes(900_000 + n) for n in range(4)}
# On a busy machine containerd loses, now and then, the last line of a container that ends with it.
READY = "echo READY; /bin/busybox usleep 300000"
RIGHT = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def data_layer(tar):
    tar.directory("data")
    for name, content in FILES.items():
        tar.file(name, content)


@pytest.fixture(scope="module")
def pushed(lab):
    command = ["/bin/busybox", "sh", "-c", f"/bin/busybox sha256sum /data/*; {READY}"]
    made = lab.push("two", layers(lab.directory("two"), BUSYBOX, data_layer), command)
    services.convert(made.reference)
    return made


def cri(containerd, image: str) -> None:
    services.pull(image, containerd.socket)


# Whether CRI uses the transfer service, and how an image is pulled. "cri-local" is containerd's Go
# client that unpacks while it pulls (nerdctl's way too); "ctr-local" downloads all layers first.
WAYS = {
    "cri-local": (False, cri),
    "cri-transfer": (True, cri),
    "ctr-local": (False, lambda containerd, image: containerd.pull_locally(image)),
    "ctr-transfer": (False, lambda containerd, image: containerd.pull_by_transfer(image)),
}


@pytest.fixture
def side(lab, request):
    """A node and a containerd 2 of this test's own, and how it pulls."""
    by_transfer, pull = WAYS[request.param]
    directory = lab.directory("two-side")
    node = services.Node(directory / "n", background_fill=False).start()
    containerd = containerd2.Containerd2(directory / "c", PROGRAMS, "runnel", node.socket,
                                         by_transfer)
    try:
        containerd.start()
        containerd.use_mirror(lab.registry.host, node.mirror)
        yield node, containerd, pull
        containerd.remove_all_images()
    finally:
        containerd.stop()
        node.stop()


@pytest.mark.parametrize("side", WAYS, indirect=True)
def test_containerd_2_streams_and_reads_right_bytes(request, side, pushed):
    node, containerd, pull = side

    pull(containerd, pushed.reference)

    assert [image["reason"] for image in node.status()["images"]] == ["Streaming"]
    if "ctr-local" not in request.node.name:
        assert containerd.content_bytes() < 100_000, "no layer was downloaded"
    started = containerd.run(pushed.reference, "two")
    assert started.seconds_to_ready is not None, started.output
    read = {line.split()[1].lstrip("/"): line.split()[0]
            for line in started.output.splitlines() if "/data/" in line}
    assert read == RIGHT


@pytest.mark.parametrize("make", [containerd2.Containerd2, containerd2.of_version_2],
                         ids=["version-3", "version-2"])
def test_install_and_uninstall_on_containerd_2(lab, pushed, make):
    machine = Machine(lab, lambda directory: make(directory, PROGRAMS)).start()
    try:
        before = machine.files()
        for image in (pushed, lab.push("two-present", layers(lab.directory("two-present"), BUSYBOX),
                                       ["/bin/busybox", "sh", "-c", READY])):
            machine.containerd.pull_by_transfer(image.reference)  # into overlayfs, as ever

        said = succeeded(machine.install("--verify-image", pushed.reference))
        assert f"unpacking {pushed.reference}" in said and f"pulled {pushed.reference}" in said
        assert "nothing to do" in succeeded(machine.install())
        machine.containerd.snapshotter = "runnel"
        machine.containerd.remove_image(pushed.reference)
        machine.containerd.pull_by_transfer(pushed.reference)
        reasons = [image["reason"] for image in machine.node.status()["images"]]
        assert reasons == ["Streaming"]
        assert machine.containerd.run(pushed.reference, "two").seconds_to_ready is not None
        assert machine.containerd.run(lab.reference("two-present"),
                                      "present").seconds_to_ready is not None
        machine.containerd.snapshotter = "overlayfs"

        assert "uninstalled" in succeeded(machine.uninstall())
        assert machine.files() == before
        assert "runnel" not in machine.containerd.ctr("plugins", "ls")
    finally:
        machine.stop()


def test_another_registry_can_be_installed_after_containerd_was_upgraded(lab, pushed):
    machine = Machine(lab).start()  # Debian's 1.6
    try:
        before = machine.files()
        succeeded(machine.install())
        main = machine.containerd.directory / "config.toml"
        machine.containerd.stop()
        machine.containerd = containerd2.Containerd2(machine.containerd.directory, PROGRAMS)
        machine.containerd.start(main.read_text())

        succeeded(machine.install("--registry", "other.example", "--verify-image", pushed.reference))

        assert [image["reason"] for image in machine.node.status()["images"]] == ["Streaming"]
        assert "nothing to do" in succeeded(machine.install("--registry", "other.example"))
        machine.containerd.remove_image(pushed.reference)
        assert "uninstalled" in succeeded(machine.uninstall())
        assert machine.files() == before
    finally:
        machine.stop()


@pytest.mark.parametrize("side", ["ctr-transfer"], indirect=True)
def test_an_image_without_an_artifact_is_unpacked_as_ever(lab, side):
    node, containerd, pull = side
    plain = lab.push("two-plain", layers(lab.directory("two-plain"), BUSYBOX),
                     ["/bin/busybox", "sh", "-c", READY])

    pull(containerd, plain.reference)

    assert [image["reason"] for image in node.status()["images"]] == ["NoArtifact"]
    assert containerd.run(plain.reference, "plain").seconds_to_ready is not None


@pytest.mark.parametrize("side", ["cri-local"], indirect=True)
def test_a_pull_of_what_is_not_there_says_so(lab, side):
    _, containerd, pull = side

    with pytest.raises(CommandError) as refused:
        pull(containerd, lab.reference("nothing-here"))

    assert "not found" in str(refused.value)


@pytest.mark.parametrize("side", ["cri-transfer"], indirect=True)
def test_containerd_2_exports_what_was_materialized_and_repulls(lab, side, pushed):
    node, containerd, pull = side
    plain = lab.push("two-later", layers(lab.directory("two-later"), data_layer))
    pull(containerd, pushed.reference)
    pull(containerd, plain.reference)
    services.convert(plain.reference)

    def command(name: str, reference: str) -> str:
        return run([services.program(), "node", name, reference, "--control", str(node.control),
                    "--address", str(containerd.socket)])

    assert command("materialize", pushed.reference).startswith("2 layers are in containerd")
    containerd.ctr("images", "export", str(lab.directory("two-export") / "image.tar"),
                   pushed.reference)
    assert "1 of 1 layers" in command("repull", plain.reference)
    containerd.ctr("leases", "create", "--id", "nothing")
    containerd.ctr("leases", "rm", "--sync", "nothing")  # collects
    assert [image["reason"] for image in node.status()["images"]] == ["Streaming", "Streaming"]
    with containerd.view(plain.image.chain_ids[0]) as root:
        for name, content in FILES.items():
            assert (root / name).read_bytes() == content
