"""A private containerd, registry and node in one scratch directory, and their removal.

The quickstart and the whole-system tests stand on this package: whatever is started here keeps its
roots, states, sockets, pid files and logs below one directory, so that one walk over /proc finds
everything that is left of it. Nothing here touches the machine's own containerd.

    scratch     the directory: leftover processes, mounts, loop devices; teardown
    daemons     a background process with a pid file that survives pid reuse
    containerd  a private containerd: configuration, ctr, pulls, views of snapshots
    services    runnel's registry and node, Debian's docker-registry
    images      OCI image layouts made in Python, and what a manifest says
"""
