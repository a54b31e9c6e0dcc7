"""`runnel login -n HOST`: a person's password, where docker keeps its own."""

from __future__ import annotations

import base64
import json
import os
import pty
import stat
import subprocess

import pytest
from sandbox import services
from test_command_line import PEOPLE, guarded  # noqa: F401  (a fixture)


@pytest.fixture
def run(guarded, tmp_path):  # noqa: F811
    def go(*command: str, code: int = 0, text: str = "", **more: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker"),
                       "RUNNEL_REGISTRY": guarded.host, **more}
        done = subprocess.run([services.program(), *command], capture_output=True, text=True,
                              timeout=60, env=environment, input=text, check=False)
        assert done.returncode == code, (command, done)
        return done

    return go


def config(tmp_path) -> dict:
    return json.loads((tmp_path / "docker/config.json").read_text())


def test_who_is_logged_in_is_known_until_the_logout(run, guarded, tmp_path):  # noqa: F811
    refused = run("repository", "list", code=1)
    assert f"`runnel login -n {guarded.host}`" in refused.stderr

    done = run("login", "-n", guarded.host, "-u", "owner", "--password-stdin", text=PEOPLE["owner"])

    assert done.stdout == "Login Succeeded\n"
    path = tmp_path / "docker/config.json"
    assert str(path) in done.stderr and PEOPLE["owner"] not in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config(tmp_path) == {"auths": {guarded.host: {"auth": base64.b64encode(
        f"owner:{PEOPLE['owner']}".encode()).decode()}}}
    assert isinstance(json.loads(run("repository", "list").stdout), list)
    run("logout", "--name", guarded.host)
    assert config(tmp_path) == {"auths": {}}
    run("repository", "list", code=1)
    assert "nobody is logged in" in run("logout", "-n", guarded.host, code=1).stderr


def test_what_the_registry_does_not_take_is_not_kept(run, tmp_path):
    assert "401" in run("login", "-u", "owner", "-p", "wrong", code=1).stderr
    assert not (tmp_path / "docker").exists()
    assert "Usage error" in run("login", "-p", "word", code=2).stderr
    assert "which registry?" in run("login", "-u", "owner", "-p", "w", code=2,
                                    RUNNEL_REGISTRY="").stderr
    assert "Usage error" in run("login", "registry.example", code=2).stderr  # the node's


def test_what_else_is_in_the_file_stays(run, guarded, tmp_path):  # noqa: F811
    (tmp_path / "real").mkdir()
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").symlink_to(tmp_path / "real/config.json")
    before = {"auths": {"other.example": {"auth": "eDp5"}}, "proxies": {"default": {"noProxy": "x"}}}
    (tmp_path / "real/config.json").write_text(json.dumps(before))

    run("login", "-u", "reader", "-p", PEOPLE["reader"])

    after = json.loads((tmp_path / "real/config.json").read_text())
    assert after["proxies"] == before["proxies"]
    assert set(after["auths"]) == {"other.example", guarded.host}
    assert (tmp_path / "docker/config.json").is_symlink()
    (tmp_path / "real/config.json").write_text("[]")
    assert "not a JSON object" in run("login", "-u", "reader", "-p", PEOPLE["reader"], code=1).stderr


HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept")
said = sys.stdin.read()
if sys.argv[1] == "store":
    kept.write_text(said)
elif sys.argv[1] == "erase":
    kept.unlink()
elif kept.exists():
    print(kept.read_text())
else:
    print("credentials not found in native keychain")
    sys.exit(1)
"""


def test_a_helper_keeps_the_password_where_one_is_named(run, guarded, tmp_path):  # noqa: F811
    helper = tmp_path / "docker-credential-box"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    named = {"credHelpers": {guarded.host: "box"}}
    (tmp_path / "docker/config.json").write_text(json.dumps(named))
    path = f"{tmp_path}:{os.environ['PATH']}"

    done = run("login", "-u", "owner", "-p", PEOPLE["owner"], PATH=path)

    assert "docker-credential-box" in done.stderr
    assert json.loads((tmp_path / "kept").read_text()) == {
        "ServerURL": guarded.host, "Username": "owner", "Secret": PEOPLE["owner"]}
    assert config(tmp_path) == named, "the password is not in the file"
    run("repository", "list", PATH=path)
    run("logout", PATH=path)
    assert not (tmp_path / "kept").exists()


def test_somebody_at_a_terminal_is_asked_and_does_not_see_the_answer(guarded, tmp_path):  # noqa: F811
    ours, theirs = pty.openpty()
    process = subprocess.Popen([services.program(), "login", "-n", guarded.host, "-u", "owner"],
                               stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")})
    asked = ""
    while not asked.endswith(": "):
        asked += process.stderr.read(1)
    os.write(ours, f"{PEOPLE['owner']}\n".encode())
    output, _ = process.communicate(timeout=60)
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        echoed = os.read(ours, 1000)
    except OSError:
        echoed = b""
    os.close(ours)

    assert asked == f"Password of owner at {guarded.host}: "
    assert (process.returncode, output) == (0, "Login Succeeded\n")
    assert PEOPLE["owner"].encode() not in echoed
