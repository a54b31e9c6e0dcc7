"""Images made to be difficult: each case is a few layers that ask one question of an unpacker.

The answer is always containerd's own: tests unpack the same image with its overlayfs snapshotter
and compare. What containerd 1.6.20 does is written at each case, as seen, because later versions
may differ; `pull_fails` marks images that it refuses, which the converter has to refuse as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tars
from tars import Tar

Builder = Callable[[Path], list[Path]]


@dataclass(frozen=True)
class Case:
    name: str
    build: Builder
    pull_fails: str = ""      # a part of containerd's sentence; empty: the pull works
    converts: bool = False    # the converter accepts what containerd refuses, and says so in its docs
    heavy: bool = False       # gigabytes or minutes


CASES: dict[str, Case] = {}


def case(**outcome) -> Callable[[Builder], Builder]:
    def add(build: Builder) -> Builder:
        name = build.__name__.replace("_", "-")
        CASES[name] = Case(name, build, **outcome)
        return build
    return add


def layers(directory: Path, *writers: Callable[[Tar], object], dialect: str = "pax") -> list[Path]:
    paths = []
    for number, write in enumerate(writers):
        with Tar(directory / f"layer{number}.tar", dialect) as tar:
            write(tar)
        paths.append(tar.path)
    return paths


# Whiteouts ----------------------------------------------------------------------------------------


@case()
def whiteout_of_a_lower_directory(at: Path) -> list[Path]:
    """The directory goes with all below it; whiteouts of absent names are ignored."""
    return layers(
        at,
        lambda t: (t.directory("gone").directory("gone/deep").file("gone/deep/f", b"1")
                   .file("gone/g", b"2").directory("stays").file("stays/a", b"3")
                   .file("stays/b", b"4").symlink("stays/link", "a")),
        lambda t: (t.whiteout("gone").whiteout("stays/a").whiteout("stays/link")
                   .whiteout("stays/never-was").whiteout("no/such/directory/x")),
        lambda t: t.directory("gone", 0o700, uid=7).file("gone/new", b"5"),
    )


@case()
def whiteout_before_its_name_in_one_layer(at: Path) -> list[Path]:
    """The entry takes the whiteout's place. For a directory that undoes the whiteout: it comes out
    as if it had only been named again, and the lower directory's content shows through."""
    return layers(
        at,
        lambda t: t.directory("d").file("d/x", b"old").directory("d/y").file("d/y/in", b"old"),
        lambda t: t.whiteout("d/x").file("d/x", b"new").whiteout("d/y").directory("d/y"),
    )


@case(pull_fails="file exists")
def whiteout_after_its_name_in_one_layer(at: Path) -> list[Path]:
    """containerd makes overlayfs' device node for a whiteout, and finds the name taken."""
    return layers(
        at,
        lambda t: t.file("x", b"old"),
        lambda t: t.file("x", b"new").whiteout("x"),
    )


@case()
def opaque_directory_over_files(at: Path) -> list[Path]:
    """Only what the top layer has is left, whether its entries come before or after the marker."""
    return layers(
        at,
        lambda t: (t.directory("d").file("d/1", b"1").file("d/2", b"2").directory("d/sub")
                   .file("d/sub/3", b"3").directory("e").file("e/old", b"old")),
        lambda t: (t.directory("d", 0o750, gid=3).opaque("d").file("d/after", b"a")
                   .directory("d/sub").file("d/sub/4", b"4")
                   .directory("e").file("e/before", b"b").opaque("e")),
        lambda t: t.directory("d").file("d/third", b"c"),
    )


@case()
def opaque_directory_that_has_no_entry(at: Path) -> list[Path]:
    """The marker alone is enough; the directory keeps the lower one's mode and owner."""
    return layers(
        at,
        lambda t: t.directory("d", 0o711, uid=5, gid=6).file("d/1", b"1").directory("d/s", 0o700),
        lambda t: t.opaque("d").file("d/2", b"2").opaque("d/s"),
    )


@case()
def whiteouts_of_other_systems(at: Path) -> list[Path]:
    """Other names that start with .wh..wh. are aufs bookkeeping and make nothing."""
    return layers(
        at,
        lambda t: t.directory("d").file("d/1", b"1"),
        lambda t: t.file(".wh..wh.plnk", b"").directory(".wh..wh.orph").file("d/2", b"2"),
    )


# Types that change --------------------------------------------------------------------------------


@case()
def file_replaced_by_directory_and_back(at: Path) -> list[Path]:
    return layers(
        at,
        lambda t: (t.file("x", b"file").directory("y").file("y/in", b"in")
                   .symlink("z", "y").directory("w").file("w/deep", b"d")),
        lambda t: (t.directory("x", 0o700).file("x/in", b"in").file("y", b"now a file")
                   .directory("z").file("z/in", b"z").symlink("w", "x")),
        lambda t: (t.file("x", b"file again").directory("y").file("y/other", b"o")
                   .symlink("z", "x").directory("w").file("w/new", b"n")),
    )


@case()
def one_name_twice_in_a_layer(at: Path) -> list[Path]:
    """The last entry wins; a directory entry for a directory changes its metadata only."""
    return layers(
        at,
        lambda t: (t.file("f", b"first").file("f", b"second, longer", mode=0o600)
                   .directory("d", 0o755).file("d/in", b"in").directory("d", 0o700, uid=9)
                   .symlink("s", "f").symlink("s", "d").file("t", b"1").symlink("t", "f")
                   .file("u", b"1").directory("u").file("u/in", b"2")),
        lambda t: t.file("f", b"third").hard_link("g", "f").file("f", b"fourth"),
    )


@case()
def directory_then_file_of_one_name_in_a_layer(at: Path) -> list[Path]:
    return layers(
        at,
        lambda t: t.directory("d").file("d/in", b"in").file("d", b"a file now"),
    )


# Paths --------------------------------------------------------------------------------------------


@case()
def entry_below_a_lower_symbolic_link(at: Path) -> list[Path]:
    """A real directory comes into being and hides the link; the link's target is not touched."""
    return layers(
        at,
        lambda t: (t.directory("real").file("real/f", b"f").symlink("link", "real")
                   .symlink("absolute", "/real").symlink("dangling", "nowhere")
                   .symlink("up", "../../..")),
        lambda t: (t.file("link/g", b"g").file("absolute/sub/h", b"h").file("dangling/i", b"i")
                   .file("up/j", b"j")),
    )


@case()
def entry_below_a_symbolic_link_of_its_own_layer(at: Path) -> list[Path]:
    """Within one layer the path is resolved inside the root: the link's target gets the entry."""
    return layers(
        at,
        lambda t: (t.directory("real").symlink("link", "real").file("link/g", b"g")
                   .symlink("out", "../../../../real").file("out/h", b"h")),
    )


@case()
def implied_directories(at: Path) -> list[Path]:
    """Mode and owner come from the lower directory, or 0755 and root; the time is left open."""
    return layers(
        at,
        lambda t: t.file("a/b/c/file", b"1"),
        lambda t: (t.directory("x", 0o700, uid=5, gid=6).directory("x/y", 0o2711, uid=7)
                   .directory("sticky", 0o1777)),
        lambda t: (t.file("x/y/z/file", b"2").file("sticky/file", b"3").file("a/b/d", b"4")),
    )


@case()
def spellings_of_one_path(at: Path) -> list[Path]:
    """Leading ./, doubled slashes and dots mean the same path. An entry for the root directory is
    passed over: the root keeps 0755, root and the time of the unpack."""
    return layers(
        at,
        lambda t: (t.directory("./", 0o751, uid=1, gid=2, mtime=1_234_567_890)
                   .directory("./a/").file("./a//b", b"b").file("a/./c", b"c")
                   .directory("a/d/").file("a/d/../e", b"e")),
        lambda t: t.directory("./", 0o755, mtime=1_334_567_890).file("a/b", b"b2"),
    )


@case()
def long_names(at: Path) -> list[Path]:
    """255 bytes is the longest name of Linux; paths and link targets are longer."""
    long = "n" * 255
    deep = "/".join(["d" * 200] * 8)
    return layers(
        at,
        lambda t: (t.file(long, b"1").directory(deep).file(f"{deep}/{'f' * 255}", b"2")
                   .symlink("l" * 255, "t" * 4000).symlink("short", deep[:101])
                   .hard_link("h" * 255, long).hard_link("hard", f"{deep}/{'f' * 255}")),
        lambda t: t.file("n" * 250 + "other", b"3").whiteout("l" * 200),
    )


@case()
def long_names_gnu(at: Path) -> list[Path]:
    deep = "/".join(["d" * 200] * 8)
    return layers(
        at,
        lambda t: (t.file("n" * 255, b"1").directory(deep).file(f"{deep}/{'f' * 255}", b"2")
                   .symlink("l" * 255, "t" * 4000).hard_link("h" * 255, "n" * 255)),
        dialect="gnu",
    )


@case()
def ten_thousand_entries_in_one_directory(at: Path) -> list[Path]:
    def many(t: Tar) -> None:
        t.directory("many")
        for number in range(10_000):
            t.file(f"many/entry-{number * 7919 % 10_000:05}", b"%d" % number)
    return layers(
        at, many,
        lambda t: [t.whiteout(f"many/entry-{n:05}") for n in range(0, 10_000, 97)],
    )


@case()
def names_that_are_not_utf8(at: Path) -> list[Path]:
    odd = [b"latin-\xe9", b"\xff\xfe", b"new\nline", b"back\\slash", b" leading", b"trailing ",
           b"tab\t", b"\x01\x02", "komb\u0301".encode(), "\U0001f600".encode(), b"-rf", b"*", b"\xc3"]

    def write(t: Tar) -> None:
        t.directory(b"dir-\xe4")
        for number, name in enumerate(odd):
            t.file(name, b"%d" % number).file(b"dir-\xe4/" + name, b"x")
        t.symlink(b"link-\xe9", b"dir-\xe4/\xff\xfe").hard_link(b"hard-\xe9", b"latin-\xe9")
    return [*layers(at, write, dialect="gnu"),
            _named(layers, at, "top", lambda t: t.file(b"dir-\xe4/\xc3", b"new")
                   .file(b".wh.\xff\xfe"))]


def _named(make, at: Path, name: str, writer: Callable[[Tar], object]) -> Path:
    (at / name).mkdir()
    return make(at / name, writer, dialect="gnu")[0]


@case()
def names_that_are_not_utf8_pax(at: Path) -> list[Path]:
    return layers(at, lambda t: (t.directory(b"dir-\xe4").file(b"dir-\xe4/\xff" + b"n" * 200, b"1")
                                 .symlink(b"s-\xe9", b"\xfe")))


# Links --------------------------------------------------------------------------------------------


@case(pull_fails="failed to extract layer")
def hard_link_to_a_lower_layers_file(at: Path) -> list[Path]:
    """containerd looks for the target in the layer's own directory only and finds nothing."""
    return layers(
        at,
        lambda t: t.file("lower", b"lower"),
        lambda t: t.hard_link("upper", "lower"),
    )


@case(pull_fails="failed to extract layer")
def hard_link_to_a_later_entry(at: Path) -> list[Path]:
    return layers(at, lambda t: t.hard_link("first", "second").file("second", b"2"))


@case()
def hard_links(at: Path) -> list[Path]:
    """A link to a link is the same file; replacing one name leaves the others as they were."""
    return layers(
        at,
        lambda t: (t.file("a", b"one file", mode=0o640, uid=3, xattrs={"user.k": b"v"})
                   .directory("d").hard_link("b", "a").hard_link("d/c", "b").hard_link("e", "/a")
                   .symlink("s", "a").hard_link("s2", "s").fifo("p").hard_link("p2", "p")
                   .file("k", b"k").hard_link("l", "k").hard_link("m", "k")),
        lambda t: t.file("b", b"replaced").whiteout("d/c").whiteout("k"),
        lambda t: t.file("q", b"q").hard_link("d/r", "q").hard_link("a", "q"),
    )


@case()
def hard_link_with_metadata_of_its_own(at: Path) -> list[Path]:
    """The link entry's mode, owner and times are applied to the shared file."""
    return layers(
        at,
        lambda t: (t.file("a", b"x", mode=0o600, uid=1)
                   .hard_link("b", "a", uid=77, gid=78, mtime=1_500_000_000)),
    )


@case()
def symbolic_links_of_every_kind(at: Path) -> list[Path]:
    return layers(
        at,
        lambda t: (t.symlink("dangling", "no/where").symlink("self", "self")
                   .symlink("absolute", "/etc/passwd").symlink("out", "../../../..")
                   .symlink("odd", b"\xff\xfe target").symlink("owned", "x", uid=12, gid=13)
                   .symlink("slash", "dir/").symlink("dot", ".")),
        lambda t: t.symlink("self", "other").whiteout("dot"),
    )


# Kinds of files and metadata ----------------------------------------------------------------------


@case()
def devices_and_fifos(at: Path) -> list[Path]:
    return layers(
        at,
        lambda t: (t.directory("dev").char_device("dev/null", 1, 3).block_device("dev/sda", 8, 0)
                   .char_device("dev/big", 511, 0x54321).block_device("dev/nvme", 259, 1023)
                   .fifo("dev/pipe", uid=4, gid=5).char_device("dev/console", 5, 1, uid=3)),
        lambda t: t.whiteout("dev/sda").fifo("dev/null"),
    )


@case()
def modes_and_owners(at: Path) -> list[Path]:
    return layers(
        at,
        lambda t: (t.file("setuid", b"#!", 0o4755).file("setgid", b"#!", 0o2755, gid=50)
                   .file("all", b"#!", 0o7777, uid=1, gid=1).directory("sticky", 0o1777)
                   .directory("none", 0).file("nothing", b"x", 0)
                   .file("nobody", b"x", uid=65534, gid=65534)
                   .file("huge", b"x", uid=2_100_000_000, gid=4_000_000_000)
                   .directory("setgid-dir", 0o2775, gid=20).file("setgid-dir/in", b"x", gid=21)),
    )


@case()
def times(at: Path) -> list[Path]:
    """Nanoseconds, after 2038 and after 2106; what is before 1970 becomes the epoch."""
    stamps = ["0", "1.5", "1700000000.123456789", "-1", "-1.25", "2147483648", "4294967296.000000001",
              "8589934592", "1700000000.1", "1700000000.999999999"]

    def write(t: Tar) -> None:
        for number, stamp in enumerate(stamps):
            t.file(f"f{number}", b"x", mtime=stamp).directory(f"d{number}", mtime=stamp)
            t.symlink(f"s{number}", "x", mtime=stamp)
    return layers(at, write)


@case()
def extended_attributes(at: Path) -> list[Path]:
    """Attributes, POSIX ACLs, capabilities. trusted.* is not set; a directory's attributes go when
    a layer above names it again, and stay when that only implies it."""
    acl = tars.posix_acl((1, 6, 0xFFFFFFFF), (2, 4, 1000), (4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF),
                         (32, 4, 0xFFFFFFFF))
    default = tars.posix_acl((1, 7, 0xFFFFFFFF), (4, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    return layers(
        at,
        lambda t: (t.file("plain", b"x", xattrs={"user.a": b"1", "user.b": b"\x00\xff\n="})
                   .file("empty-value", b"x", xattrs={"user.e": b""})
                   .file("large", b"x", xattrs={"user.large": bytes(range(256)) * 8})
                   .file("acl", b"x", 0o664, xattrs={"system.posix_acl_access": acl})
                   .directory("acl-dir", 0o750, xattrs={"system.posix_acl_default": default,
                                                        "user.dir": b"d"})
                   .file("ping", b"#!", 0o755, xattrs={"security.capability":
                                                       tars.file_capability(1 << 13)})
                   .file("trusted", b"x", xattrs={"trusted.t": b"t", "security.other": b"o"})
                   .directory("many", xattrs={f"user.k{n}": b"v" * n for n in range(60)})
                   .symlink("link", "plain", xattrs={"trusted.on-link": b"l"})
                   .directory("kept", 0o750, xattrs={"user.kept": b"1",
                                                     "system.posix_acl_default": default})),
        lambda t: (t.directory("acl-dir", 0o755).file("plain", b"y", xattrs={"user.c": b"3"})
                   .file("kept/below", b"x")),
    )


@case()
def sparse_files(at: Path) -> list[Path]:
    """PAX's sparse maps 0.1 and 1.0; holes are zeros, wherever they lie."""
    tree = at / "tree"
    tree.mkdir()
    _sparse(tree / "all-hole", 1 << 20, {})
    _sparse(tree / "ends-in-hole", 3 << 20, {0: b"start", 1 << 20: b"mid" * 1000})
    _sparse(tree / "starts-with-hole", (2 << 20) + 4, {2 << 20: b"tail"})
    _sparse(tree / "many-pieces", 40 << 16, {n << 16: b"%d" % n for n in range(40)})
    _sparse(tree / "empty", 0, {})
    pax1 = tars.tar_of_tree(at / "pax1.tar", tree, "--sparse", "--format=pax", "--sparse-version=1.0")
    for name in os.listdir(tree):
        os.rename(tree / name, tree / f"other-{name}")
    pax0 = tars.tar_of_tree(at / "pax0.tar", tree, "--sparse", "--format=pax", "--sparse-version=0.1")
    return [pax1, pax0]


@case(pull_fails="unhandled tar header type", converts=True)
def sparse_files_of_old_gnu_tar(at: Path) -> list[Path]:
    """Type S of GNU tar: Go's reader knows it, containerd's unpack does not take it."""
    tree = at / "tree"
    tree.mkdir()
    _sparse(tree / "many-pieces", 40 << 16, {n << 16: b"%d" % n for n in range(40)})
    return [tars.tar_of_tree(at / "gnu.tar", tree, "--sparse", "--format=gnu")]


def _sparse(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            os.pwrite(file.fileno(), data, offset)


@case(heavy=True)
def file_over_four_gibibytes(at: Path) -> list[Path]:
    """Sizes and block numbers beyond 32 bits; a sparse file, so that the tar is small."""
    tree = at / "tree"
    tree.mkdir()
    _sparse(tree / "big", (4 << 30) + 12_345, {0: b"first", 1 << 32: b"beyond four gibibytes"})
    (tree / "small").write_bytes(b"next to it")
    return [tars.tar_of_tree(at / "big.tar", tree, "--sparse", "--format=pax")]


@case()
def files_of_every_size(at: Path) -> list[Path]:
    """Around every boundary of blocks and chunks, with content that shows a shift by one byte."""
    sizes = sorted({size + d for size in (0, 512, 4096, 8192, 32768, 65536, 131072, 262144, 1 << 20)
                    for d in (-1, 0, 1) if size + d >= 0})

    def write(t: Tar) -> None:
        for size in sizes:
            pattern = b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]
            t.file(f"s{size}", pattern).file(f"zero{size}", bytes(size))
    return layers(at, write)


# Dialects and whole layers ------------------------------------------------------------------------


@case()
def every_dialect(at: Path) -> list[Path]:
    def write(prefix: str) -> Callable[[Tar], object]:
        return lambda t: (t.directory(prefix).file(f"{prefix}/f", b"f", 0o640, uid=10, gid=11)
                          .symlink(f"{prefix}/s", "f").hard_link(f"{prefix}/h", f"{prefix}/f")
                          .file(f"{prefix}/{'p' * 90}/{'q' * 90}", b"prefix field")
                          .char_device(f"{prefix}/c", 1, 5).fifo(f"{prefix}/p"))
    paths = []
    for dialect in ("ustar", "gnu", "pax"):
        (at / dialect).mkdir()
        paths += layers(at / dialect, write(dialect), dialect=dialect)
    return [*paths, _version_7(at)]


def _version_7(at: Path) -> Path:
    """The tar of 1979: no magic, no type for directories but a slash at the end of the name."""
    def header(name: bytes, size: int, mode: int) -> bytes:
        block = bytearray(512)
        block[0:len(name)] = name
        block[100:108] = b"%07o\0" % mode
        block[108:116] = block[116:124] = b"%07o\0" % 0
        block[124:136] = b"%011o\0" % size
        block[136:148] = b"%011o\0" % tars.LONG_AGO
        block[148:156] = b" " * 8
        block[156] = 0
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)
    with Tar(at / "v7.tar") as tar:
        tar.raw(header(b"v7/", 0, 0o755)).raw(header(b"v7/f", 2, 0o644), b"v7")
    return tar.path


@case()
def empty_and_repeated_layers(at: Path) -> list[Path]:
    """A layer without entries, and one layer twice: chain IDs differ, diff IDs do not."""
    first, empty, again = layers(
        at, lambda t: t.file("a", b"a").directory("d").file("d/x", b"x"), lambda t: None,
        lambda t: t.whiteout("a").file("d/y", b"y"))
    return [first, empty, again, first, empty, again]


@case()
def forty_layers(at: Path) -> list[Path]:
    def write(n: int) -> Callable[[Tar], object]:
        return lambda t: (t.file(f"only-{n}", b"%d" % n).file("all", b"%d" % n)
                          .file(f"dir/{n % 7}", b"%d" % n)
                          .whiteout(f"only-{n - 3}") if n % 2 else
                          t.file(f"only-{n}", b"%d" % n).directory(f"dir/sub{n % 5}", 0o700 + n % 8))
    return layers(at, *[write(n) for n in range(40)])


@case()
def data_that_looks_like_overlayfs(at: Path) -> list[Path]:
    """A 0:0 character device is overlayfs' own whiteout: unpacked, it hides itself and below."""
    return layers(
        at,
        lambda t: t.file("hidden", b"x").directory("d").file("d/in", b"in"),
        lambda t: t.char_device("hidden", 0, 0).char_device("alone", 0, 0),
    )
