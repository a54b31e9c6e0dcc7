"""The Debian package: what is in it, and what installing it does to a machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from needs import needs
from sandbox import services
from sandbox.containerd import run

ROOT = services.project_root()


def build(output: Path) -> Path:
    for tool in ("dpkg-shlibdeps", "dpkg-deb", "strip"):
        needs(tool)
    path = run([str(ROOT / "tools/build-deb"), "--program", services.program(),
                "--output", str(output)], seconds=120).strip()
    return Path(path)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("package"))


def field(package: Path, name: str) -> str:
    return run(["dpkg-deb", "-f", str(package), name]).strip()


def test_the_package_has_the_program_its_units_and_its_configuration(package, tmp_path):
    run(["dpkg-deb", "-x", str(package), str(tmp_path)])

    program = tmp_path / "usr/bin/runnel"
    assert run([str(program), "version"]).split()[1] == field(package, "Version")
    for unit in ("runnel-node.service", "runnel-registry.service"):
        assert (tmp_path / "lib/systemd/system" / unit).is_file()
    for role in ("node", "registry"):
        config = tmp_path / f"etc/runnel/{role}.toml"
        run([str(program), role, "--check-config", "--config", str(config)])
    assert "libc6" in field(package, "Depends") and "libcurl4" in field(package, "Depends")
    control = tmp_path / "control"
    run(["dpkg-deb", "-e", str(package), str(control)])
    conffiles = (control / "conffiles").read_text().split()
    assert conffiles == ["/etc/runnel/node.toml", "/etc/runnel/registry.toml"]
    for script in ("postinst", "prerm", "postrm"):
        run(["sh", "-n", str(control / script)])


def test_the_same_program_gives_the_same_package(package, tmp_path):
    assert build(tmp_path).read_bytes() == package.read_bytes()


def test_systemd_understands_the_units(package, tmp_path):
    needs("systemd-analyze")
    run(["dpkg-deb", "-x", str(package), str(tmp_path)])
    for unit in ("runnel-node.service", "runnel-registry.service"):
        path = tmp_path / "lib/systemd/system" / unit
        text = path.read_text().replace("/usr/bin/runnel", str(tmp_path / "usr/bin/runnel"))
        path.write_text(text)

        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)],
                              capture_output=True, text=True, timeout=60)

        said = [line for line in done.stderr.splitlines()
                if "FileDescriptorStorePreserve" not in line]  # of systemd 254
        assert done.returncode == 0 and not said, (unit, done.stderr)


def test_the_node_cannot_be_removed_under_containerd(package, tmp_path):
    """The maintainer script, with the path that it looks at in a directory of ours."""
    needs("sh")
    control = tmp_path / "control"
    run(["dpkg-deb", "-e", str(package), str(control)])
    node_root = tmp_path / "node"
    (node_root / "install").mkdir(parents=True)
    script = (control / "prerm").read_text().replace(
        "/var/lib/containerd/io.containerd.snapshotter.v1.runnel", str(node_root))
    script = script.replace("/run/systemd/system", str(tmp_path / "no-systemd"))

    def prerm(action: str) -> subprocess.CompletedProcess:
        return subprocess.run(["sh", "-c", script, "prerm", action], capture_output=True, text=True)

    refused = prerm("remove")
    assert refused.returncode == 1 and "runnel node uninstall" in refused.stderr
    assert prerm("upgrade").returncode == 0
    shutil.rmtree(node_root / "install")
    assert prerm("remove").returncode == 0
