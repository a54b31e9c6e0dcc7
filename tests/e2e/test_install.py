"""`runnel node install` and `uninstall` on a containerd of the test's own.

The machine's containerd is never touched: every path is given, and the restart command restarts the
private one.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from corpus import layers
from guarded_registry import GuardedRegistry
from machine import Machine, succeeded
from sandbox import services
from sandbox.containerd import Containerd

# Programs to run, and files to be right.
BUSYBOX = lambda t: t.directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
FILES = {f"data/{n}": random.Random(n).randbytes(700_000 + n) for n in range(6)}


def data_layer(tar):
    tar.directory("data")
    for name, content in FILES.items():
        tar.file(name, content)


WAIT = ["/bin/busybox", "sh", "-c", "echo READY; exec /bin/busybox sleep 1000"]


@pytest.fixture
def machine(lab):
    made = Machine(lab).start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def streamed(lab):
    pushed = lab.push("install-streamed", layers(lab.directory("install-layers"), BUSYBOX,
                                                 data_layer), WAIT)
    services.convert(pushed.reference)
    return pushed


def start_waiting(containerd: Containerd, image: str, name: str) -> None:
    """A container that runs until it is killed."""
    containerd.ctr("run", "--detach", "--null-io", "--snapshotter", "runnel", "--cgroup", "",
                   "--runc-root", str(containerd.directory / "runc"), image, name)


def hashes(containerd: Containerd, name: str) -> dict[str, str]:
    """SHA-256 of the container's data files, computed inside it."""
    text = containerd.ctr("tasks", "exec", "--exec-id", f"hash-{random.getrandbits(32):x}",
                          "--fifo-dir", str(containerd.directory / "fifo"), name,
                          "/bin/busybox", "sha256sum", *(f"/{name}" for name in FILES))
    return {line.split()[1].lstrip("/"): line.split()[0] for line in text.splitlines()}


RIGHT = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_a_dry_run_shows_the_difference_and_changes_nothing(machine):
    before = machine.files()

    shown = succeeded(machine.install("--dry-run"))

    assert machine.files() == before
    assert '+    snapshotter = "runnel"' in shown
    assert f'+[host."http://{machine.node.mirror}"]' in shown
    assert "nothing has" in shown
    assert not (machine.node.root / "install").exists()


def test_install_streams_and_uninstall_restores_every_byte(lab, machine, streamed):
    before = machine.files()

    succeeded(machine.install())
    installed = machine.files()
    assert "nothing to do" in succeeded(machine.install())
    assert machine.files() == installed
    services.pull(streamed.reference, machine.containerd.socket)
    images = machine.node.status()["images"]
    assert [image["reason"] for image in images] == ["Streaming"]
    machine.containerd.remove_image(streamed.reference)
    said = succeeded(machine.uninstall())

    assert "uninstalled" in said
    assert machine.files() == before
    assert machine.node.daemon.pid is None
    assert not (machine.node.root / "install").exists()
    assert "runnel" not in machine.containerd.ctr("plugins", "ls")


def test_an_install_of_no_registry_says_that_nothing_streams_and_what_to_do(lab, machine):
    nothing = "no image streams yet, because containerd asks no registry through the node. "

    for options in (["--dry-run"], [], []):
        said = succeeded(machine.install(*options, registry=False)).splitlines()
        assert said[-1].startswith(nothing + "Name one, as image names do: runnel node install --registry ")

    last = succeeded(machine.install()).splitlines()[-1]
    assert last.startswith(f"images of {lab.registry.host} stream when they are pulled")
    assert succeeded(machine.install(registry=False)).splitlines()[-1] == last
    succeeded(machine.uninstall())


def test_a_running_container_survives_uninstall_with_all_its_files(lab, machine, streamed):
    succeeded(machine.install())
    containerd = machine.containerd
    services.pull(streamed.reference, containerd.socket)
    start_waiting(containerd, streamed.reference, "survivor")
    layers_then = machine.node.status()["images"][0]["layers"]
    assert not all(layer["complete"] for layer in layers_then)

    said = succeeded(machine.uninstall())

    assert "survivor" in said, "it says what the node still serves"
    assert machine.node.daemon.pid is not None
    assert "runnel" not in containerd.ctr("plugins", "ls")
    lab.registry.stop()
    try:
        assert hashes(containerd, "survivor") == RIGHT, "from this node alone"
    finally:
        lab.registry.start()
    containerd.ctr("tasks", "kill", "--signal", "SIGKILL", "survivor")
    containerd.ctr("tasks", "delete", "--force", "survivor")
    containerd.ctr("containers", "rm", "survivor")  # although its snapshotter is gone
    assert "uninstalled" in succeeded(machine.uninstall())
    assert machine.node.daemon.pid is None

    services.pull(streamed.reference, containerd.socket)  # what streamed was not whole here
    assert containerd.run(streamed.reference, "ordinary").seconds_to_ready is not None
    containerd.remove_image(streamed.reference)
    machine.node.start()
    succeeded(machine.install())
    services.pull(streamed.reference, containerd.socket)
    containerd.snapshotter = "runnel"
    assert containerd.run(streamed.reference, "again").seconds_to_ready is not None
    containerd.snapshotter = "overlayfs"
    assert [each["reason"] for each in machine.node.status()["images"]] == ["Streaming"]


def test_an_image_that_was_there_before_still_starts(lab, machine):
    image = lab.push("install-present", layers(lab.directory("present"), BUSYBOX),
                     ["/bin/busybox", "echo", "READY"])
    machine.containerd.pull(image.reference)

    said = succeeded(machine.install())

    assert f"unpacking {image.reference}" in said
    assert f"pulled {image.reference}" in said, "one pull verifies the install"
    machine.containerd.snapshotter = "runnel"
    lab.registry.stop()
    try:
        started = machine.containerd.run(image.reference, "present")
    finally:
        lab.registry.start()
        machine.containerd.snapshotter = "overlayfs"
    assert started.seconds_to_ready is not None, started.output
    succeeded(machine.uninstall())


STEPS = ["journal", "write-0", "write-1", "write-2", "effect", "restart", "plugins", "unpack",
         "verify", "commit"]


def test_a_failure_at_any_step_leaves_everything_as_it_was(lab, machine):
    image = lab.push("install-failing", layers(lab.directory("failing"), BUSYBOX))
    machine.containerd.pull(image.reference)
    before = machine.files()

    for step in STEPS:
        failed = machine.install("--fail-at", step)

        assert failed.returncode == 1, step
        assert f"told to fail before {step} (everything is as it was)" in failed.stderr, step
        assert machine.files() == before, step
        assert not (machine.node.root / "install").exists(), step
    assert "runnel" not in machine.containerd.ctr("plugins", "ls")
    succeeded(machine.install())
    succeeded(machine.uninstall())
    assert machine.files() == before


def test_a_registry_that_wants_a_password_can_be_installed_although_its_images_are_here(lab, machine):
    image = lab.push("install-secret", layers(lab.directory("secret"), BUSYBOX))
    machine.containerd.pull(image.reference)
    guard = GuardedRegistry(lab.registry.host, users={"alice": "word"}).start()
    try:
        name = image.reference.replace(lab.registry.host, guard.host)
        machine.containerd.ctr("images", "tag", image.reference, name)
        machine.containerd.ctr("images", "rm", image.reference)
        before = machine.files()

        said = succeeded(machine.install("--registry", guard.host))

        assert f"{name} wants a password" in said and f"runnel pull {name} --user NAME" in said
        succeeded(machine.uninstall())
        assert machine.files() == before
        machine.node.start()
        named = machine.install("--registry", guard.host, "--verify-image", name)
        assert named.returncode == 1 and "(everything is as it was)" in named.stderr, named
        assert machine.files() == before
    finally:
        guard.stop()


def test_a_node_that_cannot_be_started_leaves_everything_as_it_was_and_says_what_to_do(machine):
    before = machine.files()
    machine.node.stop()

    failed = machine.install()

    assert failed.returncode == 1
    assert "the node does not run and cannot be started" in failed.stderr
    assert "start `runnel node`" in failed.stderr and "(everything is as it was)" in failed.stderr
    assert "on the way back" not in failed.stderr
    assert machine.files() == before


def test_the_root_can_be_purged_after_the_uninstall_when_no_node_runs_from_it(machine, tmp_path):
    succeeded(machine.install())
    succeeded(machine.uninstall())
    root = machine.node.root
    machine.node.start()
    refused = machine.uninstall("--purge")
    assert refused.returncode == 1 and "the node runs: stop it" in refused.stderr
    machine.node.stop()
    (tmp_path / "mine").touch()
    elsewhere = subprocess.run([services.program(), "node", "uninstall", "--purge", "--root", str(tmp_path)],
                               capture_output=True, text=True, timeout=60)
    assert elsewhere.returncode == 1 and "is no node's root" in elsewhere.stderr
    assert (tmp_path / "mine").exists() and (root / "node-id").exists()

    assert f"removed {root}" in succeeded(machine.uninstall("--purge"))

    assert not root.exists()


def test_an_install_that_was_killed_is_taken_back(machine):
    before = machine.files()
    for step in ("write-2", "verify"):
        assert machine.install("--fail-at", f"crash:{step}").returncode == -9
        assert machine.files() != before

        assert "interrupted" in succeeded(machine.install()), "by the next install"
        succeeded(machine.uninstall(stop="true"))
        assert machine.files() == before

        assert machine.install("--fail-at", f"crash:{step}").returncode == -9
        succeeded(machine.uninstall(stop="true"))
        assert machine.files() == before, "by uninstall"


def test_an_uninstall_that_was_killed_goes_on(machine):
    before = machine.files()
    for step in ("release", "restore", "restart", "stop"):
        succeeded(machine.install())
        assert machine.uninstall("--fail-at", f"crash:{step}").returncode == -9

        assert "uninstalled" in succeeded(machine.uninstall(stop="true")), step
        assert machine.files() == before
        assert "runnel" not in machine.containerd.ctr("plugins", "ls")


def test_edited_files_are_not_overwritten(machine):
    succeeded(machine.install())
    config = machine.containerd.directory / "config.toml"
    mine = config.read_text() + "\n# mine\n"
    config.write_text(mine)

    refused = machine.uninstall()

    assert refused.returncode == 1
    assert str(config) in refused.stderr and "--force" in refused.stderr
    assert config.read_text() == mine
    succeeded(machine.uninstall("--force"))
    assert (config.parent / "config.toml.runnel-saved").read_text() == mine
    assert "# mine" not in config.read_text()


def test_an_edit_of_a_file_that_the_last_install_left_alone_is_not_overwritten(machine):
    before = machine.files()
    succeeded(machine.install())
    succeeded(machine.install("--registry", "other.example"))
    config = machine.containerd.directory / "config.toml"
    mine = config.read_text() + "\n# mine\n"
    config.write_text(mine)
    edited = machine.files()

    refused = machine.uninstall()

    assert refused.returncode == 1
    assert str(config) in refused.stderr and "--force" in refused.stderr
    assert machine.files() == edited
    assert not (machine.node.root / "install/retired").exists(), "it can still be left alone"
    saved = config.parent / "config.toml.runnel-saved"
    assert f"kept as {saved}" in succeeded(machine.uninstall("--force"))
    assert saved.read_text() == mine
    saved.unlink()
    assert machine.files() == before


def test_what_is_kept_of_edits_is_never_overwritten(machine):
    config = machine.containerd.directory / "config.toml"
    before = config.read_text()
    for mine in ("# first\n", "# second\n"):
        succeeded(machine.install())
        config.write_text(mine + config.read_text())
        succeeded(machine.uninstall("--force", stop="true"))

    assert config.read_text() == before
    assert config.with_name("config.toml.runnel-saved").read_text().startswith("# first\n")
    assert config.with_name("config.toml.runnel-saved.1").read_text().startswith("# second\n")


def test_a_registry_whose_edited_hosts_file_was_kept_can_be_installed_again(machine):
    hosts = machine.containerd.certs / "other.example/hosts.toml"
    succeeded(machine.install("--registry", "other.example"))
    hosts.write_text(hosts.read_text() + "# mine\n")
    succeeded(machine.uninstall("--force", stop="true"))
    kept = hosts.with_name("hosts.toml.runnel-saved")
    assert not hosts.exists() and kept.read_text().endswith("# mine\n")

    succeeded(machine.install("--registry", "other.example"))

    assert hosts.exists() and kept.exists()
    succeeded(machine.uninstall())


@pytest.mark.parametrize(("text", "why"), [
    ('host = { "http://x" = { capabilities = ["pull"] } }\n', "by hand"),
    ('server = "https://harbor.example/v2/dockerhub"\n', "a path other than /v2"),
], ids=["cannot-be-merged", "cannot-be-followed-by-the-node"])
def test_a_hosts_file_that_is_refused_stays_and_the_sentence_says_why(machine, text, why):
    hosts = machine.containerd.certs / machine.lab.registry.host / "hosts.toml"
    hosts.write_text(text)
    before = machine.files()

    refused = machine.install()

    assert refused.returncode == 1
    assert str(hosts) in refused.stderr and why in refused.stderr
    assert machine.files() == before


def test_install_takes_the_nodes_file_from_the_environment(machine, tmp_path):
    config = tmp_path / "node.toml"
    config.write_text('version = 1\nmirror = "127.0.0.1:4711"\naddress = "/run/site.sock"\n'
                      f'root = "{tmp_path}/root"\n')
    shown = succeeded(subprocess.run(
        [services.program(), "node", "install", "--dry-run", "--registry", "r.example",
         "--containerd-address", machine.containerd.socket,
         "--containerd-config", machine.containerd.directory / "config.toml"],
        env={**os.environ, "RUNNEL_CONFIG": str(config)}, capture_output=True, text=True, timeout=60))

    assert '+[host."http://127.0.0.1:4711"]' in shown and '"/run/site.sock"' in shown
    removed = succeeded(subprocess.run(
        [services.program(), "node", "uninstall", "--containerd-address", machine.containerd.socket],
        env={**os.environ, "RUNNEL_CONFIG": str(config)}, capture_output=True, text=True, timeout=60))
    assert f"with the node's root {tmp_path}/root" in removed


def test_a_purge_waits_for_a_node_that_was_only_told_to_stop(machine):
    succeeded(machine.install())

    said = succeeded(machine.uninstall(
        "--purge", stop=f"(sleep 1; kill {machine.node.daemon.pid}) >/dev/null 2>&1 &"))

    assert machine.node.daemon.pid is None
    assert f"removed {machine.node.root}" in said and not machine.node.root.exists()


def test_without_containerd_nothing_is_taken_back_and_it_says_what_to_do(machine):
    succeeded(machine.install())
    installed = machine.files()
    machine.containerd.stop()

    failed = machine.uninstall()

    assert failed.returncode == 1 and f"connect to {machine.containerd.socket}" in failed.stderr
    assert "does it run?" in failed.stderr and "--containerd-address" in failed.stderr
    assert "Nothing has been changed" in failed.stderr
    assert "`runnel node uninstall --force` restores its files first" in failed.stderr
    assert machine.files() == installed
    machine.containerd.start()
    succeeded(machine.uninstall())


def test_by_force_the_files_of_a_containerd_that_cannot_start_are_restored_and_containers_go_on(
        lab, machine, streamed):
    before = machine.files()
    succeeded(machine.install())
    containerd = machine.containerd
    services.pull(streamed.reference, containerd.socket)
    start_waiting(containerd, streamed.reference, "survivor")
    containerd.stop()

    failed = machine.uninstall("--force", restart="echo broken >&2; false")

    assert failed.returncode == 1 and "going on without it (--force)" in failed.stdout
    assert "containerd's files are as before the install, and it does not start" in failed.stderr
    assert "broken" in failed.stderr and "Run this again when it does" in failed.stderr
    assert machine.files() == before and machine.node.daemon.pid is not None
    said = succeeded(machine.uninstall())  # which starts it
    assert "survivor" in said and machine.node.daemon.pid is not None
    lab.registry.stop()
    try:
        assert hashes(containerd, "survivor") == RIGHT, "what it had mounted was completed"
    finally:
        lab.registry.start()
    containerd.kill_container("survivor")
    assert "uninstalled" in succeeded(machine.uninstall())
    assert "runnel" not in containerd.ctr("plugins", "ls")


def test_by_force_an_uninstall_without_containerd_keeps_no_layers_for_the_snapshotter(machine, lab):
    before = machine.files()
    image = lab.push("install-held", layers(lab.directory("held"), BUSYBOX), ["/bin/busybox", "true"])
    machine.containerd.pull(image.reference)
    succeeded(machine.install())
    assert "gc.ref.snapshot.runnel" in machine.containerd.ctr("content", "ls")
    machine.containerd.stop()

    assert "uninstalled" in succeeded(machine.uninstall("--force"))

    assert machine.files() == before and machine.node.daemon.pid is None
    assert "gc.ref.snapshot.runnel" not in machine.containerd.ctr("content", "ls")


def test_a_purge_keeps_what_is_not_the_nodes(machine):
    others = machine.node.root / "registry/blobs"
    others.mkdir(parents=True)
    (others / "one").write_text("pushed")
    succeeded(machine.install())

    said = succeeded(machine.uninstall("--purge"))

    assert "registry in it is not the node's" in said
    assert (others / "one").read_text() == "pushed"
    assert list(machine.node.root.iterdir()) == [others.parent]


def test_a_containerd_that_does_not_come_up_is_put_right(machine):
    before = machine.files()
    config = machine.containerd.directory / "config.toml"
    broken = machine.install(restart=f"{machine.restart_command()} && ! grep -q runnel {config}")

    assert broken.returncode == 1
    assert machine.files() == before
    assert machine.containerd.ctr("version")
