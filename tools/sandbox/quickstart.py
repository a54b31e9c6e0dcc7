"""What ./quickstart shows: one image, started streamed and then the ordinary way.

    python3 -m sandbox.quickstart --dir DIR --image NAME --layout OCI_LAYOUT
    python3 -m sandbox.quickstart --dir DIR --stop
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sandbox import images, services
from sandbox.containerd import Containerd, Started, drop_page_cache
from sandbox.scratch import Scratch

REGISTRY_PORT = 5000
MIRROR_PORT = 8578
DEFAULT_DIRECTORY = "/var/tmp/runnel-quickstart"


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def start_timed(containerd: Containerd, reference: str, name: str, pull) -> tuple[float, Started]:
    """Seconds from asking for the image to the READY line, pull included."""
    drop_page_cache()
    begin = time.monotonic()
    pull()
    pulled = time.monotonic() - begin
    started = containerd.run(reference, name)
    if started.seconds_to_ready is None:
        sys.exit(f"quickstart: the container printed no READY line:\n{started.output}")
    return pulled + started.seconds_to_ready, started


def fetched_bytes(node: services.Node, repository: str) -> int:
    for image in node.status()["images"]:
        if image["image"].startswith(repository + "@"):
            if image["reason"] != "Streaming":
                sys.exit(f"quickstart: the image did not stream: {image['reason']}: {image['detail']}")
            return image["bytes_fetched"]
    sys.exit("quickstart: the node does not know the image")


def table(rows: list[tuple[str, float, int]], total: int) -> None:
    print(f"\n  {'':<10} {'time to READY':>14} {'bytes fetched':>14} {'of the image':>13}")
    for name, seconds, count in rows:
        print(f"  {name:<10} {seconds:>12.2f} s {megabytes(count):>14} {100 * count / total:>11.1f} %")
    print()


def show(scratch: Scratch, name: str, layout: Path) -> None:
    if scratch.is_ours():
        say("removing what an earlier run left")
        scratch.teardown()
    scratch.create()
    registry = services.Registry(scratch / "registry", REGISTRY_PORT).start()
    say(f"registry on {registry.host}")
    node = services.Node(scratch / "node", background_fill=False, mirror_port=MIRROR_PORT).start()
    say(f"node with its mirror on {node.mirror}, engine {node.status()['engine']}")
    streaming = Containerd(scratch / "containerd", "runnel", node.socket).start()
    streaming.use_mirror(registry.host, node.mirror)
    ordinary = Containerd(scratch / "ordinary").start()
    ordinary.use_mirror(registry.host, None)
    say(f"containerd (streaming) on {streaming.socket}, another (ordinary) on {ordinary.socket}")

    repository = f"{registry.host}/quickstart/{name}"
    reference = f"{repository}:latest"
    say(f"pushing {reference}")
    images.push(layout, reference)
    total = images.compressed_bytes(images.read_layout(layout))
    say(f"converting it ({megabytes(total)} of layers)")
    print("   " + services.convert(reference).strip())

    say("starting it streamed")
    seconds, started = start_timed(streaming, reference, "streamed",
                                   lambda: services.pull(reference, streaming.socket))
    print("   " + started.output.strip().splitlines()[-1])
    streamed = ("streamed", seconds, fetched_bytes(node, repository))
    say("starting it the ordinary way, from the same registry")
    seconds, started = start_timed(ordinary, reference, "ordinary",
                                   lambda: services.pull(reference, ordinary.socket))
    print("   " + started.output.strip().splitlines()[-1])
    table([streamed, ("ordinary", seconds, total)], total)
    again = "" if scratch.path == Path(DEFAULT_DIRECTORY) else f" --dir {scratch.path}"
    print(f"""Both sides are still running. Look around:
  {services.program()} node status --control {node.control}
  {services.program()} inspect {reference}
  ctr --address {streaming.socket} -n k8s.io run --rm --snapshotter runnel {reference} again
and when done:
  ./quickstart --stop{again}""")


def stop(scratch: Scratch) -> None:
    if not scratch.path.exists():
        print(f"nothing to stop: {scratch.path} does not exist")
        return
    if not scratch.is_ours():
        sys.exit(f"quickstart: {scratch.path} was not made by ./quickstart; nothing was touched")
    scratch.teardown()
    left = scratch.leftovers()
    if left:
        sys.exit("quickstart: could not remove:\n" + "\n".join(left))
    if scratch.path.exists() and not any(scratch.path.iterdir()):
        scratch.path.rmdir()
    print(f"everything below {scratch.path} has ended and is removed")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--image")
    parser.add_argument("--layout", type=Path)
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args()
    scratch = Scratch(options.dir)
    if options.stop:
        stop(scratch)
    else:
        show(scratch, options.image, options.layout)


if __name__ == "__main__":
    main()
