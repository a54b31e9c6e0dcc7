"""Restarts a daemon of the sandbox from another process: what stands for `systemctl restart`.

    restart_daemon.py NAME RUN_DIR SOCKET PROGRAM [ARGUMENT]...
    restart_daemon.py NAME RUN_DIR                  only stops it
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from sandbox import daemons  # noqa: E402

name, run_dir, *start = sys.argv[1:]
daemon = daemons.Daemon(name, Path(run_dir))
daemon.stop(patience=40)
if start:
    socket, *argv = start
    daemon.start(argv)
    daemon.wait_for(lambda: daemons.answers_on(Path(socket)), "its socket answers")
