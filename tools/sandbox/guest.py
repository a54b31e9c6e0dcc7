"""A virtual machine with another kernel: a disk made of files of this machine, run to its end.

The kernel comes from tools/build-guest; qemu emulates the processor (no KVM), so that it works
wherever qemu does. The guest's /guest, a script for busybox, is its first process; what it writes
comes out of the serial console, and it ends with `poweroff -f`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from sandbox.containerd import run
from sandbox.services import project_root

QEMU = "qemu-system-x86_64"


def missing() -> str | None:
    """What this machine lacks for it, for a test's reason to skip."""
    for program in (QEMU, "mkfs.ext4"):
        if shutil.which(program) is None:
            return f"needs {program}: tools/packages install test"
    return None


def kernel(package: str = "") -> Path:
    """The directory that tools/build-guest made: vmlinuz, initramfs, modules/."""
    argv = [str(project_root() / "tools/build-guest"), *([package] if package else [])]
    return Path(run(argv, seconds=600).strip())


class Disk:
    """A root file system that is put together in a directory and then made an ext4 image."""

    def __init__(self, directory: Path):
        self.root = directory / "root"
        self.image = directory / "disk"
        for name in ("bin", "dev", "proc", "sys", "run", "tmp", "etc", "lib64", "var/lib"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.program(Path("/bin/busybox"), "bin/busybox")
        for applet in run(["/bin/busybox", "--list"]).split():
            if applet != "busybox":
                (self.root / "bin" / applet).symlink_to("busybox")

    def program(self, source: Path, target: str) -> None:
        """Copies a program, and the shared libraries that it needs to where it looks for them."""
        self.file(source, target)
        for library in re.findall(r"(/\S+) \(0x", subprocess.run(
                ["ldd", str(source)], capture_output=True, text=True).stdout):
            self.file(Path(library), library.lstrip("/"))

    def file(self, source: Path, target: str) -> None:
        path = self.root / target
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source.resolve(), path)

    def text(self, target: str, text: str, mode: int = 0o644) -> None:
        path = self.root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def make(self, megabytes: int) -> Path:
        run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-O",
             "^metadata_csum", "-d", str(self.root), str(self.image), f"{megabytes}M"])
        shutil.rmtree(self.root)
        return self.image


def boot(kernel_directory: Path, disk: Path, log: Path, seconds: float,
         on_line: Callable[[str], None] = lambda line: None, memory: str = "1024M") -> list[str]:
    """Runs the guest to its end and returns the console's lines, which `log` has too.

    A guest that takes longer than `seconds` is killed; its lines end where it stood.
    """
    argv = [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", memory,
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", str(kernel_directory / "vmlinuz"),
            "-initrd", str(kernel_directory / "initramfs"),
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable",
            "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
    lines = []
    with open(log, "w") as copy, subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace") as machine:
        timer = threading.Timer(seconds, machine.kill)
        timer.start()
        try:
            for line in machine.stdout:
                lines.append(line.rstrip())
                copy.write(line)
                copy.flush()
                on_line(lines[-1])
        finally:
            timer.cancel()
            machine.kill()
    return lines
