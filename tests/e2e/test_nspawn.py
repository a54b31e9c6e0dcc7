"""The package on a fresh Debian 12 with systemd, booted twice in a container.

What stands in for a machine is systemd-nspawn with a network of its own (loopback only). Everything
that is said to it is run by nsenter in its namespaces.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from corpus import layers
from sandbox import daemons, images, services
from sandbox.containerd import run

pytestmark = pytest.mark.heavy

ROOT = services.project_root()
DATA = random.Random(5).randbytes(5_000_000)
RIGHT = hashlib.sha256(DATA).hexdigest()
REGISTRY = "127.0.0.1:5000"
IMAGE = f"{REGISTRY}/nspawn:1"


def boot_argv(root: Path) -> list[str]:
    devices = ["/dev/fuse", "/dev/loop-control", *map(str, Path("/dev").glob("loop[0-9]*"))]
    return ["systemd-nspawn", "-q", "-b", "-D", str(root), "--register=no", "--keep-unit",
            "--private-network", "--capability=all", *(f"--bind={each}" for each in devices),
            "--system-call-filter=@mount @keyring bpf open_by_handle_at name_to_handle_at"]


class Booted:
    """The machine, until the block ends."""

    def __init__(self, root: Path):
        self.root = root

    def __enter__(self) -> "Booted":
        self.log = open(self.root.parent / "boot.log", "ab")
        self.process = subprocess.Popen(boot_argv(self.root), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        deadline = time.monotonic() + 300  # of a machine that others load too
        while self.say("systemctl is-system-running", check=False) not in ("running", "degraded"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError("it does not boot")
            time.sleep(0.5)
        # What runc needs of nspawn's read-only cgroups.
        self.say("for m in /sys/fs/cgroup/*; do "
                 "mountpoint -q $m && mount -o remount,rw,bind $m; done; true")
        return self

    def __exit__(self, *_) -> None:
        self.say("systemctl poweroff", check=False)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
        self.log.close()

    def init(self) -> str:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return children.read_text().split()[0] if children.read_text().split() else "0"

    def say(self, line: str, check: bool = True) -> str:
        init = self.init()
        if init == "0":
            return ""
        done = subprocess.run(["nsenter", "-t", init, "-m", "-p", "-n", "-u", "-i", "-C",
                               "--wd=/", "sh", "-c", line],
                              capture_output=True, text=True, timeout=180)
        assert not check or done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def from_outside(self, argv: list[str]) -> str:
        """A program of this machine on that one's loopback."""
        return run(["nsenter", "-t", self.init(), "-n", *argv], seconds=120)

    def hash_in(self, container: str) -> str:
        exec_id = f"h{random.getrandbits(32):x}"
        return self.say(f"ctr -n k8s.io t exec --exec-id {exec_id} {container} "
                        "/bin/busybox sha256sum /data/x").split()[0]


@pytest.fixture(scope="module")
def root() -> Path:
    """A minimal Debian 12 with the package, containerd and nothing else of ours."""
    for tool in ("systemd-nspawn", "mmdebstrap", "nsenter", "skopeo"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: tools/packages install")
    work = Path(tempfile.mkdtemp(prefix="runnel-nspawn-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    package = run([str(ROOT / "tools/build-deb"), "--program", services.program(),
                   "--output", str(work)], seconds=300).strip()
    root = work / "root"
    run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
         "--include=ca-certificates,systemd-sysv,dbus,containerd,runc,busybox-static,procps",
         f"--customize-hook=cp {package} $1/runnel.deb",
         "--customize-hook=chroot $1 apt-get install -y --no-install-recommends /runnel.deb",
         "--customize-hook=rm $1/runnel.deb",
         "bookworm", str(root), "http://deb.debian.org/debian"], seconds=600)
    try:
        yield root
    finally:
        shutil.rmtree(work)


def push_image(machine: Booted, work: Path) -> None:
    busybox = lambda t: t.directory("bin").file("bin/busybox",
                                                Path("/bin/busybox").read_bytes(), 0o755)
    data = lambda t: t.directory("data").file("data/x", DATA)
    image = images.image_of(work / "layout", layers(work, busybox, data),
                            ["/bin/busybox", "sleep", "1000"])
    machine.from_outside(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                          f"oci:{image.layout}", f"docker://{IMAGE}"])
    machine.from_outside([services.program(), "convert", IMAGE])


def start_container(machine: Booted, name: str) -> None:
    machine.say(f"ctr -n k8s.io run -d --null-io --snapshotter runnel {IMAGE} {name}")


def all_complete(machine: Booted) -> bool:
    status = json.loads(machine.say("runnel node status --json"))
    return all(layer["complete"] for image in status["images"] for layer in image["layers"])


def end_container(machine: Booted, name: str) -> None:
    machine.say(f"ctr -n k8s.io t kill -s KILL {name}; ctr -n k8s.io t rm -f {name}; "
                f"ctr -n k8s.io c rm {name}")


def test_a_fresh_debian_12_installs_boots_and_uninstalls(root, tmp_path):
    with Booted(root) as machine:
        config = machine.say("sha256sum /etc/containerd/config.toml")
        assert machine.say("systemctl is-enabled runnel-node", check=False) == "disabled"
        machine.say("systemctl start runnel-registry")
        push_image(machine, tmp_path)

        said = machine.say(f"runnel node install --registry {REGISTRY} --verify-image {IMAGE}")

        assert "systemctl enable --now runnel-node.service" in said and "installed" in said
        assert machine.say("systemctl is-enabled teleportd") == "alias"
        assert "snapshotter" in machine.say("journalctl -u teleportd --no-pager")
        start_container(machine, "c1")
        holder = machine.say("systemctl show runnel-node -p MainPID --value")
        machine.say(f"kill -9 $(cat /proc/{holder}/task/{holder}/children)")
        assert machine.hash_in("c1") == RIGHT, "a worker's death costs no byte"
        assert machine.say("systemctl show runnel-node -p MainPID --value") == holder
        # Only what is mounted is filled.
        daemons.wait_until(lambda: all_complete(machine), 120, "the background fill is done")
        end_container(machine, "c1")
        machine.say("! dpkg -r runnel")
        assert machine.say("command -v runnel") == "/usr/bin/runnel", "it refuses to be removed"
    with Booted(root) as machine:  # the registry is not enabled: it is away
        active = machine.say("systemctl show runnel-node containerd "
                             "-p ActiveEnterTimestampMonotonic --value").split()
        assert int(active[0]) < int(active[1]), "the node is up before containerd"
        assert machine.say("systemctl is-active runnel-registry", check=False) == "inactive"
        start_container(machine, "c2")
        assert machine.hash_in("c2") == RIGHT, "from this machine alone"

        said = machine.say("runnel node uninstall")

        assert re.search("1 containers still run", said)
        assert machine.say("sha256sum /etc/containerd/config.toml") == config
        assert machine.hash_in("c2") == RIGHT
        end_container(machine, "c2")
        assert "uninstalled" in machine.say("runnel node uninstall --purge")
        machine.say("dpkg -P runnel")
        assert machine.say("ls /etc/runnel", check=False) == ""
        assert machine.say("systemctl is-active containerd") == "active"
