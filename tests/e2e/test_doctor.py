"""`runnel doctor`: each finding that can be provoked is, and comes with what to do."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sandbox import daemons, services


class Doctor:
    """Looks at one node of the tests, with some of what it is told changed."""

    def __init__(self, side, tmp_path: Path):
        self.flags = {"--root": side.node.root, "--mirror": side.node.mirror,
                      "--control": side.node.control, "--address": side.node.socket,
                      "--hosts-dir": side.containerd.certs,
                      "--containerd": side.containerd.socket}
        config = tmp_path / "node.toml"
        config.write_text("version = 1\n")
        self.flags["--config"] = config

    def argv(self, *more: str, **changed) -> list[str]:
        flags = self.flags | {"--" + name.replace("_", "-"): value
                              for name, value in changed.items()}
        return [services.program(), "doctor", *more,
                *[str(part) for pair in flags.items() if pair[1] is not None for part in pair]]

    def __call__(self, *more: str, around: tuple[str, ...] = (), **changed) -> "Diagnosis":
        done = subprocess.run([*around, *self.argv("--json", *more, **changed)],
                              capture_output=True, text=True, timeout=120)
        assert done.stdout, done.stderr
        return Diagnosis(done.returncode, json.loads(done.stdout))


class Diagnosis:
    def __init__(self, code: int, answer: dict):
        self.code = code
        self.findings = {one["subject"]: one for one in answer["findings"]}
        failed = any(one["level"] == "FAIL" for one in answer["findings"])
        assert answer["healthy"] == (not failed)
        assert code == (1 if failed else 0)
        for one in answer["findings"]:
            assert one["found"]
            assert bool(one["advice"]) == (one["level"] != "OK"), one

    def level(self, subject: str) -> str:
        return self.findings[subject]["level"]

    def text(self, subject: str) -> str:
        return self.findings[subject]["found"] + "\n" + self.findings[subject]["advice"]


@pytest.fixture(scope="module")
def side(lab):
    from runnel_env import Streaming
    made = Streaming(lab, "auto")
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def doctor(side, tmp_path):
    return Doctor(side, tmp_path)


def test_a_healthy_node_has_no_failure(lab, side, doctor):
    before = set(Path(side.node.root).parent.iterdir())

    seen = doctor()
    text = subprocess.run(doctor.argv(), capture_output=True, text=True, timeout=120)

    failed = {s: f for s, f in seen.findings.items() if f["level"] == "FAIL"}
    assert seen.code == 0, failed
    assert seen.level("containerd: snapshotter") == "OK"
    assert seen.level("mirror") == seen.level("node: control socket") == "OK"
    assert "through the mirror: " + lab.registry.host in seen.text("containerd: hosts.toml")
    assert seen.level("registry: " + lab.registry.host) == "OK"
    assert text.returncode == 0 and "OK    kernel: EROFS: " in text.stdout
    assert set(Path(side.node.root).parent.iterdir()) == before
    assert not [m for m in lab.scratch.mounts() if ".runnel-doctor" in m.point]


def test_a_node_that_is_not_there(doctor, tmp_path):
    seen = doctor(mirror=f"127.0.0.1:{daemons.free_port()}", control=tmp_path / "no.sock",
                  address=tmp_path / "no.sock")

    assert seen.level("mirror") == seen.level("node: control socket") == "FAIL"
    assert seen.level("containerd: snapshotter's socket") == "FAIL"
    assert "start the node" in seen.text("mirror")
    assert seen.level("containerd: hosts.toml") == "WARN"  # nothing leads to that port


def test_something_else_on_the_mirrors_port(lab, doctor):
    seen = doctor(mirror=lab.registry.host)

    assert seen.level("mirror") == "FAIL"
    assert "something else listens" in seen.text("mirror")


def test_a_containerd_that_is_not_there(doctor, tmp_path):
    seen = doctor(containerd=tmp_path / "no.sock")

    assert seen.level("containerd: socket") == "FAIL"
    assert "--containerd" in seen.text("containerd: socket")


def test_a_containerd_that_does_not_know_the_snapshotter(lab, doctor):
    seen = doctor(containerd=lab.ordinary.socket)

    assert seen.level("containerd: snapshotter") == "FAIL"
    assert "[proxy_plugins.runnel]" in seen.text("containerd: snapshotter")
    assert seen.level("containerd: version") == "OK"


def test_no_registry_through_the_mirror_and_all_of_them(side, doctor, tmp_path):
    none = doctor(hosts_dir=tmp_path)
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default/hosts.toml").write_text(f'[host."http://{side.node.mirror}"]\n')
    every = doctor(hosts_dir=tmp_path)

    assert none.level("containerd: hosts.toml") == every.level("containerd: hosts.toml") == "WARN"
    assert "capabilities" in none.text("containerd: hosts.toml")
    assert "_default" in every.text("containerd: hosts.toml")


def test_a_hosts_file_that_the_node_cannot_follow(side, doctor, tmp_path):
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io/hosts.toml").write_text(
        f'server = "https://harbor.example/v2/hub"\n[host."http://{side.node.mirror}"]\n')

    seen = doctor(hosts_dir=tmp_path)

    assert seen.level("registry: docker.io") == "FAIL"
    assert "a path other than /v2" in seen.text("registry: docker.io")


def test_registries_that_do_not_answer_or_are_none(side, doctor):
    nobody, other = f"127.0.0.1:{daemons.free_port()}", side.node.status()["metrics"]

    seen = doctor("--registry", nobody, "--registry", other)

    assert seen.level(f"registry: {nobody}") == "FAIL"
    assert seen.level(f"registry: {other}") == "FAIL"
    assert "answers 404" in seen.text(f"registry: {other}")


def test_a_user_who_may_not_mount(doctor):
    seen = doctor(around=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                  config=None)

    assert seen.level("permissions: root") == "FAIL"
    assert "run it as root" in seen.text("permissions: root")
    assert "kernel: EROFS" not in seen.findings


def test_root_without_the_capability(doctor):
    seen = doctor(around=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"))

    assert "CAP_SYS_ADMIN" in seen.text("permissions: root")
    assert seen.level("kernel: EROFS") == seen.level("kernel: FUSE") == "FAIL"
    assert seen.level("kernel: overlayfs") == "FAIL"


def test_no_fuse_device(doctor):
    hide = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /dev/fuse && exec "$@"', "sh")

    seen = doctor(around=hide)

    assert seen.level("kernel: FUSE") == "FAIL"
    assert "modprobe fuse" in seen.text("kernel: FUSE")


@pytest.mark.parametrize("options, subject, level, words", [
    ("size=4m", "disk: space", "FAIL", "512 MiB"),
    ("size=4m,ro", "disk: space", "FAIL", "read-only"),
    ("size=4m", "disk: file system", "WARN", "tmpfs"),
])
def test_disks_that_will_not_do(doctor, tmp_path, options, subject, level, words):
    root = tmp_path / "root"
    root.mkdir()
    mount = ("unshare", "--mount", "sh", "-c",
             f'mount -t tmpfs -o {options} none {root} && exec "$@"', "sh")

    seen = doctor(around=mount, root=root)

    assert seen.level(subject) == level
    assert words in seen.text(subject)


@pytest.mark.parametrize("cache, level, words", [
    ("reserve = 1000000\nmin_free = 0", "OK", ""),
    ("reserve = 1000000", "OK", ""),
    ("reserve = 1000000\nmin_free = 4000000", "WARN", "cache.min_free"),
    ("reserve = 4000000", "FAIL", "cache.reserve"),
])
def test_space_is_judged_as_the_configured_cache_does(doctor, tmp_path, cache, level, words):
    root = tmp_path / "root"
    root.mkdir()
    config = tmp_path / "cache.toml"
    config.write_text(f"version = 1\n[cache]\n{cache}\n")
    mount = ("unshare", "--mount", "sh", "-c",
             f'mount -t tmpfs -o size=4m none {root} && head -c 1M /dev/zero >{root}/something && exec "$@"', "sh")

    seen = doctor(around=mount, root=root, config=config)

    assert seen.level("disk: space") == level
    assert words in seen.text("disk: space")


def test_direct_io_is_tried_whether_it_is_wanted_or_not(doctor, tmp_path):
    wanted = tmp_path / "wanted.toml"
    wanted.write_text("version = 1\ndirect_io = true\n")
    subject = "kernel: direct I/O"

    assert doctor().text(subject) == "works: plain files are read past their page cache; direct_io is off\n"
    assert "direct_io is on" in doctor(config=wanted).text(subject)

    root = tmp_path / "root"
    root.mkdir()
    without = ("unshare", "--mount", "sh", "-c", f'mount -t ramfs none {root} && exec "$@"', "sh")
    off, on = (doctor(around=without, root=root, config=config) for config in (tmp_path / "node.toml", wanted))
    assert off.level(subject) == "OK" and on.level(subject) == "WARN"
    assert "has no direct reads" in off.text(subject)
    assert "leave direct_io off" in on.text(subject)


def test_a_root_on_overlayfs(doctor, tmp_path):
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    mount = ("unshare", "--mount", "sh", "-c",
             f'mount -t overlay -o lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,'
             f'workdir={tmp_path}/work none {tmp_path}/root && exec "$@"', "sh")

    seen = doctor(around=mount, root=tmp_path / "root")

    assert seen.level("disk: file system") == "FAIL"
    assert seen.level("kernel: overlayfs") == "FAIL"


def test_help_has_an_example():
    done = subprocess.run([services.program(), "doctor", "--help"], capture_output=True, text=True)

    assert done.returncode == 0
    assert "Example: runnel doctor" in done.stdout


def trial_mounts(pid: int | str) -> list[str]:
    """Mounts of a doctor's trials, as any thread of the process sees them."""
    seen = []
    for task in Path(f"/proc/{pid}/task").glob("*/mountinfo"):
        try:
            seen += [line.split()[4] for line in task.read_text().splitlines()
                     if ".runnel-doctor-" in line]
        except OSError:  # the thread has ended
            pass
    return seen


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle_of_a_trial_leaves_no_mount(side, doctor, signal_number):
    """The trial takes a fraction of a second: tried until one is met."""
    parent = Path(side.node.root).parent
    before = set(parent.iterdir())
    met = False
    for _ in range(20):
        running = subprocess.Popen(doctor.argv(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while running.poll() is None and not trial_mounts(running.pid):
            pass
        met = running.poll() is None
        running.send_signal(signal_number)
        code = running.wait(60)
        if met and code not in (0, 1):
            break
    assert met and code in (128 + signal_number, -signal_number)

    assert trial_mounts("self") == []
    left = set(parent.iterdir()) - before
    if signal_number == signal.SIGKILL:  # files, which nobody could remove
        for path in left:
            shutil.rmtree(path)
    else:
        assert left == set()
