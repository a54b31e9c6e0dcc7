"""A registry that cannot be reached for an hour, under a container that runs.

For half of the time whoever connects gets no answer, for the other half nobody listens. The image has
layers that are here when the registry goes, and one of which nothing is. $RUNNEL_GONE_SECONDS is the
length; two minutes try the test itself.
"""

from __future__ import annotations

import errno
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import known_files
from fault_report import Entry
from fault_setup import layer_blob, on
from liar import Liar
from readers import Readers
from runnel_env import Streaming
from sandbox import daemons, images, services
from tars import Tar
from test_memory import MIB, anonymous_bytes

GONE_SECONDS = float(os.environ.get("RUNNEL_GONE_SECONDS", 3600))
READ_TIMEOUT = 15
# A range whose read has just ended late is refused for two seconds (docs/failure.md, "Known limits"),
# and what is tried again waits up to two.
SETTLING = 5
# For its own request, and for one of another reader's that it waited for.
MOST_TIMEOUTS = 2
SAMPLES = 60
HERE = range(200)
ABSENT = range(200, 500)
# Reads a file that is here once a second, and says in its own layer how often it was right and not.
LOOP = """good=0; bad=0; right=$(/bin/busybox sha256sum /{name})
while :; do
  if [ "$(/bin/busybox sha256sum /{name})" = "$right" ]; then good=$((good+1)); else bad=$((bad+1)); fi
  echo $good $bad >/count.new; /bin/busybox mv /count.new /count; /bin/busybox sleep 1
done"""


def push(lab):
    directory = lab.directory("gone")
    with Tar(directory / "busybox.tar") as tar:
        tar.directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    loop = LOOP.format(name=known_files.name(HERE[-1]))
    pushed = lab.push("gone", [
        tar.path,
        known_files.write_tar(directory / "here.tar", HERE.start, len(HERE)),
        known_files.write_tar(directory / "absent.tar", ABSENT.start, len(ABSENT))],
        ["/bin/busybox", "sh", "-c", loop])
    services.convert(pushed.reference)
    return pushed


def blobs_of_the_last_layer(reference: str) -> list[str]:
    """The original layer's digest and its layer blob's."""
    _, manifest = images.manifest_of(reference)
    return [manifest["layers"][-1]["digest"], layer_blob(reference)["digest"]]


@dataclass
class Cost:
    """What the node holds at one moment."""

    memory: int
    descriptors: int
    threads: int
    log_lines: int

    @classmethod
    def of(cls, node: services.Node) -> "Cost":
        worker, holder = node.running_worker(), node.daemon.pid
        return cls(sum(anonymous_bytes(pid) for pid in (worker, holder)),
                   sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (worker, holder)),
                   len(os.listdir(f"/proc/{worker}/task")),
                   node.daemon.log.read_bytes().count(b"\n"))


def wait_and_look(node: services.Node, seconds: float, number: int, *readers: Readers) -> list[Cost]:
    """So many looks, evenly over the time. The node answers whoever asks it meanwhile."""
    costs = []
    end = time.monotonic() + seconds
    for left in range(number - 1, -1, -1):
        due = end - left * seconds / number
        daemons.wait_until(lambda: time.monotonic() >= due or any(r.wrong for r in readers),
                           seconds + 60, "the next look")
        before = time.monotonic()
        assert node.status()["images"]
        assert time.monotonic() - before < 10
        costs.append(Cost.of(node))
    return costs


def start_container(side: Streaming, reference: str, name: str) -> Path:
    """Returns its root as its own processes see it."""
    at = side.containerd
    at.ctr("run", "--detach", "--null-io", "--snapshotter", "runnel", "--cgroup", "",
           "--runc-root", str(at.directory / "runc"), reference, name)
    (row,) = [line.split() for line in at.ctr("tasks", "ls").splitlines() if line.startswith(name)]
    return Path(f"/proc/{row[1]}/root")


def counted(root: Path) -> tuple[int, int]:
    """The container's own good and bad reads."""
    good, bad = (root / "count").read_text().split()
    return int(good), int(bad)


def check_reads(root: Path, numbers: range, settling: float = 0) -> None:
    """Each file, in a random order. One that is asked for within the first `settling` seconds may fail,
    and is asked for again when they are over."""
    begin, failed = time.monotonic(), []
    for number in random.Random(1).sample(numbers, len(numbers)):
        asked = time.monotonic() - begin
        try:
            assert (root / known_files.name(number)).read_bytes() == known_files.content(number)
        except OSError as error:
            assert error.errno == errno.EIO, f"{error}; the container is {os.path.exists(root)}"
            assert asked < settling, f"file {number} cannot be read {asked:.2f} s after the fault"
            failed.append(number)
    daemons.wait_until(lambda: not failed or time.monotonic() - begin >= settling, 60, "all has settled")
    for number in failed:
        assert (root / known_files.name(number)).read_bytes() == known_files.content(number)


@on()
def test_an_hour_without_the_registry_costs_nothing_that_lasts(lab, fault_report, engine):
    pushed = push(lab)
    entry = fault_report.entry("test_an_hour_without_the_registry", engine)
    missing = "|".join(blobs_of_the_last_layer(pushed.reference))
    with Liar(lab.registry.host, {"path": f"/blobs/({missing})", "lie": {"kind": "stall", "at": -1}},
              seed=31) as liar:
        side = Streaming(lab, engine, registry=liar.host, background_fill=True,
                         more_arguments=("--read-timeout", str(READ_TIMEOUT)))
        try:
            side.start()
            reference = f"{liar.host}/{pushed.reference.partition('/')[2]}"
            side.pull(reference)
            assert side.image_status(reference)["reason"] == "Streaming"
            # Containers of one name share a cgroup, and the end of one would be that of all.
            name = f"hour-{engine}-{os.getpid()}"
            root = start_container(side, reference, name)
            try:
                the_hour(side, liar, reference, root, entry)
            finally:
                side.containerd.kill_container(name)
        finally:
            print(side.node.daemon.last_words(60))
            side.close()


def the_hour(side: Streaming, liar: Liar, reference: str, root: Path, entry: Entry) -> None:
    layers = lambda: side.image_status(reference)["layers"]
    daemons.wait_until(lambda: all(layer["complete"] for layer in layers()[:-1]), 60,
                       "the first layers are here")
    worker = side.node.running_worker()
    check_reads(root, HERE)
    here = Readers(root, ("read,pread", "mmap"), files=HERE, pause=0.2)
    absent = Readers(root, ("read,pread,direct", "mmap"), files=ABSENT, seed=2,
                     read_timeout=READ_TIMEOUT)
    with here, absent:
        liar.rules({"lie": {"kind": "stall", "at": -1}})
        entry.faults["registry silent, seconds"] += int(GONE_SECONDS / 2)
        silent = wait_and_look(side.node, GONE_SECONDS / 2, SAMPLES // 2, here, absent)
        second = side.containerd.run(reference, f"second-{os.getpid()}", "/bin/busybox", "echo", "READY")
        assert second.seconds_to_ready is not None, second.output
        liar.down()
        entry.faults["registry down, seconds"] += int(GONE_SECONDS / 2)
        refused = wait_and_look(side.node, GONE_SECONDS / 2, SAMPLES // 2, here, absent)
        good, bad = counted(root)
        errors, read, failed = here.errors.total(), here.total, absent.errors.total()
        slowest = absent.slowest
        print(f"{side.node.engine}: here {here.describe()}\nabsent {absent.describe()}\n"
              f"container: {good} good, {bad} bad")
        for name, costs in (("silent", silent), ("refused", refused)):
            print(name, *costs[::max(1, len(costs) // 10)], costs[-1], sep="\n  ")

        liar.honest()
        begin = time.monotonic()
        check_reads(root, ABSENT, SETTLING)
        print(f"all that was absent read {time.monotonic() - begin:.1f} s after the registry was back")
    for readers in (here, absent):
        entry.take(readers)
        assert readers.wrong == [], readers.describe()

    assert (errors, bad) == (0, 0), "what is here is read as ever"
    assert read > GONE_SECONDS and good > GONE_SECONDS / 3
    assert failed > GONE_SECONDS / READ_TIMEOUT, "and what is not, fails"
    assert set(absent.errors) <= {"5", "SIGBUS"}, absent.describe()
    assert slowest < MOST_TIMEOUTS * READ_TIMEOUT + 5
    assert side.node.running_worker() == worker, "nobody died of it"
    check_costs(silent)
    check_costs(refused)
    daemons.wait_until(lambda: all(layer["complete"] for layer in layers()), 120,
                       "the fill goes on by itself")


def check_costs(costs: list[Cost]) -> None:
    """Of one way of being gone. What waits is all there after a fifth of the time; nothing more comes."""
    settled, later = costs[len(costs) // 5], costs[len(costs) // 5:]
    assert max(c.memory for c in later) < settled.memory + 8 * MIB
    assert max(c.descriptors for c in later) < settled.descriptors + 32
    assert max(c.threads for c in later) <= settled.threads + 4
    lines = costs[-1].log_lines - costs[0].log_lines
    assert lines < 300 + GONE_SECONDS / 6, f"{lines} lines of log"
