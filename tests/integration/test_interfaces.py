"""Holds the program to docs/interfaces.md: each row of its table is read from the page and tried.

A row that is new on the page fails until something here looks at it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from converting import ELSEWHERE, OURS, Converter, artifact_manifest, runnel, tar
from needs import needs
from sandbox import daemons, images, services
from sandbox.containerd import run

PAGE = services.project_root() / "docs/interfaces.md"
# Codes that are fixed on the page although no part of the program says them yet.
NOT_SAID_YET: set[str] = set()


def table() -> dict[str, str]:
    rows = {}
    for line in PAGE.read_text().splitlines():
        found = re.fullmatch(r"\| (.+?) \| (.+) \|", line)
        if found and found[1] not in ("what", "---"):
            rows[found[1]] = found[2]
    return rows


ROWS = table()


def fixed(row: str) -> list[str]:
    """What stands in code quotes in a row."""
    return re.findall(r"`([^`]+)`", ROWS[row])


def help_of(*command: str) -> str:
    done = runnel(*command, "--help")
    assert done.returncode == 0
    return done.stdout.decode()


def test_every_row_is_looked_at_here():
    assert set(ROWS) == {
        "program", "registry", "registry's HTTP", "conversion", "node", "install", "paths", "configuration", "node.toml",
        "artifact type", "media types", "annotations", "finding it", "boot blob, beside a manifest", "mirror", "control socket",
        "metrics", "reason codes", "command line",
        "processes", "engines"}


def test_program():
    assert "build/release/runnel" in fixed("program")

    for asked in ("version", "--version"):
        assert re.fullmatch(rb"runnel \d+\.\d+\.\d+\n", runnel(asked).stdout)


@pytest.mark.parametrize("row", ["registry", "node"])
def test_flags_of_the_roles(row):
    line = fixed(row)[0] + " " + " ".join(fixed(row)[1:])
    flags = re.findall(r"--[a-z-]+", line)
    said = help_of(row)

    assert len(flags) >= 3
    for flag in flags:
        assert re.search(rf"(^|[ ,]){flag}\b", said, re.MULTILINE), flag


def test_defaults_of_the_node():
    said = help_of("node")
    root, snapshotter, control, _ = fixed("paths")

    for default in (root, snapshotter, control, "127.0.0.1:8578"):
        assert default in said
    assert "mirror 127.0.0.1:8578" in ROWS["node"]
    assert f"--control TEXT={control} " in help_of("node", "status")


def test_engines():
    (text,) = fixed("engines")
    engines = text.removeprefix("--engine ").split("|")

    assert "{" + ",".join(engines) + "}" in help_of("node")
    assert runnel("node", "--engine", "no-such").returncode == 2


def test_http_of_the_registry(registry):
    health, ready, *names = fixed("registry's HTTP")[:6]
    url = f"http://{registry.host}"

    for call in (health, ready):
        assert images.request(url + call.removeprefix("GET "))[0] == 200
    assert images.request(f"{url}/v2/a/b/blobs/uploads/?digest=sha256:"
                          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                          "POST", data=b"")[0] == 201
    status, _, body = images.request(f"{url}/acr/v1/a/b", "PATCH", data=b'{"readEnabled":false}')
    assert status == 200
    assert set(json.loads(body)["changeableAttributes"]) == set(names)
    assert "PATCH /acr/v1/REPOSITORY" in fixed("registry's HTTP")


def test_http_of_conversion(registry):
    switch, image, operation, _, listing, bulk, artifact, keys, mount = [
        text.split()[-1].replace("REPO", "a/b").replace("DIGEST", f"sha256:{'0' * 64}")
        for text in fixed("conversion") if "/" in text or "cancel" in text]
    url = f"http://{registry.host}"
    expected = [("GET", switch, 200), ("GET", image, 404), ("GET", operation, 404),
                ("POST", operation + ":cancel", 404), ("GET", listing, 200), ("POST", bulk, 404),
                ("DELETE", artifact, 404), ("GET", keys, 200), ("GET", mount, 404)]
    for method, path, status in expected:
        assert images.request(url + path, method)[0] == status, (method, path)


# The roles' configuration -------------------------------------------------------------------------

ROLES = {"registry": 'data = "/d"\n', "node": 'root = "/d"\n'}  # and a key of each


def check_config(tmp_path, role: str, text: str) -> subprocess.CompletedProcess:
    file = tmp_path / f"{role}.toml"
    file.write_text(text)
    return runnel(role, "--config", str(file), "--check-config")


@pytest.mark.parametrize("role", ROLES)
def test_configuration_begins_with_the_version(tmp_path, role):
    assert "`version = 1`" in ROWS["configuration"]
    key = ROLES[role]

    assert check_config(tmp_path, role, "version = 1\n" + key).returncode == 0
    for wrong in ("", "version = 2\n", key, key + "version = 1\n"):
        done = check_config(tmp_path, role, wrong)
        assert done.returncode == 1, wrong
        assert b"version" in done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_an_unknown_key_is_an_error_with_its_line(tmp_path, role):
    done = check_config(tmp_path, role, f"version = 1\n\n{ROLES[role]}no_such_key = 3\n")

    assert done.returncode == 1
    assert f"{role}.toml:4:" in done.stderr.decode()
    assert "no_such_key" in done.stderr.decode()


def test_every_fixed_key_of_the_node_is_read(tmp_path):
    values = {"address": '"/a"', "control": '"/c"', "mirror": '"127.0.0.1:1"', "root": '"/r"',
              "engine": '"erofs-loop"', "background_fill": "false", "read_ahead": "false", "tell_starts": "false",
              "direct_io": "true",
              "read_timeout_s": "9", "keep_unused_s": "9",
              "hosts_dir": '"/h"', "metrics": '"off"', "log_level": '"error"',
              "log_format": '"json"', "streaming_registries": '["loopback"]', "[trusted_keys]": "",
              "[credentials]": "", "[cache]": "",
              '[registry."HOST"]': ""}
    assert fixed("node.toml")[0] == "version = 1"
    for key in fixed("node.toml")[1:]:
        text = f"version = 1\n{key} = {values[key]}\n" if values[key] else f"version = 1\n{key}\n"
        assert check_config(tmp_path, "node", text).returncode == 0, text


def test_flag_over_environment_over_file_over_default_of_a_node(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('version = 1\nmirror = "192.0.2.1:3"\n')

    def refused(arguments: list[str], env: dict[str, str]) -> str:
        """A mirror that is not on loopback is refused at once, and by its address."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RUNNEL_")}
        done = subprocess.run([services.program(), "node", "--root", str(tmp_path / "root"),
                               "--metrics", "off", *arguments], capture_output=True, env={**clean, **env}, timeout=60)
        assert done.returncode == 1
        return done.stderr.decode()

    config = ["--config", str(file)]
    assert "192.0.2.1:3" in refused(config, {})
    assert "192.0.2.2:3" in refused(config, {"RUNNEL_MIRROR": "192.0.2.2:3"})
    assert "192.0.2.3:3" in refused([*config, "--mirror", "192.0.2.3:3"],
                                    {"RUNNEL_MIRROR": "192.0.2.2:3"})


def first_line_of_registry(arguments: list[str], env: dict[str, str]) -> str:
    """What it says first: where it serves, or why it does not."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RUNNEL_")}
    process = subprocess.Popen([services.program(), "registry", "--metrics", "off", *arguments],
                               stderr=subprocess.PIPE, env={**clean, **env})
    try:
        ready, _, _ = select.select([process.stderr], [], [], 30)
        assert ready, "it says nothing"
        return process.stderr.readline().decode()
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def test_flag_over_environment_over_file_over_default(tmp_path):
    assert "flag > `RUNNEL_…` environment > file > default" in ROWS["configuration"]
    file = tmp_path / "registry.toml"
    file.write_text(f'version = 1\ndata = "{tmp_path}/file"\nlisten = "127.0.0.1:0"\n')
    config = ["--config", str(file)]
    env = {"RUNNEL_DATA": f"{tmp_path}/environment"}

    assert f"{tmp_path}/file on" in first_line_of_registry(config, {})
    assert f"{tmp_path}/environment on" in first_line_of_registry(config, env)
    assert f"{tmp_path}/flag on" in first_line_of_registry(
        [*config, "--data", f"{tmp_path}/flag"], env)


def test_default_port_of_the_registry(tmp_path):
    assert "port 5000" in ROWS["registry"]

    # Busy or free: it names the port either way.
    assert ":5000" in first_line_of_registry(["--data", str(tmp_path / "data")], {})


# A real artifact ----------------------------------------------------------------------------------


@pytest.fixture
def made(registry, tmp_path):
    """A signed artifact of an image with a platform variant: (reference, referrers' entry)."""
    needs("openssl")
    key = tmp_path / "key.pem"
    run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)])
    image = images.image_of(tmp_path / "layout",
                            [tar(tmp_path / "a.tar", lambda t: t.file("a", b"a"))])
    manifest = images.read_layout(image.layout)
    config = json.dumps({**image.config, "variant": "v2"}, sort_keys=True).encode()
    images.blob_path(image.layout, images.sha256(config)).write_bytes(config)
    manifest["config"] |= {"digest": images.sha256(config), "size": len(config)}
    data = json.dumps(manifest).encode()
    images.blob_path(image.layout, images.sha256(data)).write_bytes(data)
    (image.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": images.MANIFEST, "digest": images.sha256(data), "size": len(data),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}))
    reference = f"{registry.host}/team/app:1"
    images.push(image.layout, reference)
    done = Converter(tmp_path / "work")(reference, "--key", str(key))
    assert done.code == 0, done.error
    (entry,) = images.referrers(reference)
    return reference, entry


def test_media_types_and_annotations_of_an_artifact(made):
    reference, entry = made
    manifest = artifact_manifest(reference, entry["digest"])
    config, layer, boot = fixed("media types")
    of_manifest, _, of_layers = ROWS["annotations"].partition("; layers: ")
    names = re.findall(r"`([^`]+)`", of_manifest)

    assert manifest["config"]["mediaType"] == config
    assert [d["mediaType"] for d in manifest["layers"]] == [layer, boot]
    assert set(manifest["annotations"]) == set(names)
    assert set(manifest["layers"][0]["annotations"]) == set(re.findall(r"`([^`]+)`", of_layers))
    assert entry["annotations"] == manifest["annotations"]
    assert manifest["annotations"]["streaming.platform.variant"] == "v2"
    assert "streaming.format=runnel-erofs" in fixed("artifact type")
    assert manifest["annotations"]["streaming.format"] == "runnel-erofs"


def test_artifact_type_and_where_it_is_found(made):
    reference, entry = made
    host, repository, _ = images.split_reference(reference)
    digest, _ = images.manifest_of(reference)
    assert fixed("artifact type")[:2] == [OURS, ELSEWHERE]
    route = fixed("finding it")[0].removeprefix("GET ").format(repo=repository, digest=digest)

    status, headers, body = images.request(f"http://{host}{route}")

    assert status == 200
    assert headers["content-type"] == images.INDEX
    assert [e["digest"] for e in json.loads(body)["manifests"]] == [entry["digest"]]
    assert entry["artifactType"] == OURS


def test_the_boot_blob_is_named_to_who_asks_for_it(made):
    reference, entry = made
    host, repository, _ = images.split_reference(reference)
    digest, _ = images.manifest_of(reference)
    _, artifact = images.manifest_of(f"{host}/{repository}@{entry['digest']}")
    ask, answer = fixed("boot blob, beside a manifest")
    name, value = ask.split(": ")
    boot = artifact["layers"][-1]
    said = (answer.replace("DIGEST", boot["digest"], 1).replace("BYTES", str(boot["size"]), 1)
            .replace("BYTES", artifact["annotations"]["dev.runnel.head"].split()[1])
            .replace("DIGEST", artifact["layers"][0]["digest"]))
    header, expected = said.split(": ", 1)

    def headers(method: str, of: str, extra: dict[str, str]) -> dict[str, str]:
        status, got, _ = images.request(f"http://{host}/v2/{repository}/manifests/{of}", method,
                                        {"Accept": images.MANIFEST, **extra})
        assert status == 200
        return {key.lower(): value for key, value in got.items()}

    for method in ("GET", "HEAD"):
        assert headers(method, digest, {name: value})[header.lower()] == expected
        assert header.lower() not in headers(method, digest, {})
        assert header.lower() not in headers(method, entry["digest"], {name: value}), "the artifact has none"


def test_artifact_type_and_tag_in_a_registry_without_referrers(made, tmp_path):
    reference, _ = made
    needs("docker-registry")
    assert "sha256-<hex>" in fixed("finding it")
    debian = services.DebianRegistry(tmp_path / "debian").start()
    try:
        there = f"{debian.host}/team/app:1"
        run(["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests",
             "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{reference}",
             f"docker://{there}"])
        assert Converter(tmp_path / "work2")(there).code == 0
        digest, _ = images.manifest_of(there)
        _, index = images.manifest_of(f"{debian.host}/team/app:sha256-{digest[7:]}")
    finally:
        debian.stop()
    assert [e["artifactType"] for e in index["manifests"]] == [ELSEWHERE]


def test_a_node_that_is_not_roots_says_so(tmp_path):
    done = subprocess.run([needs("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
                           services.program(), "node", "--root", str(tmp_path)],
                          capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1 and "run it as root" in done.stderr, done


def test_exit_codes(made):
    assert ROWS["command line"].startswith("exit 0 done, 1 failed, 2 usage; ")
    reference, _ = made
    environment, formats, query = fixed("command line")
    said = help_of("repository", "list")
    assert environment in said and query in said
    assert "{" + ",".join(formats.removeprefix("--output ").split("|")) + "}" in said

    assert runnel("ls", reference).returncode == 0
    assert runnel("cat", reference, "/no/such").returncode == 1
    assert runnel("cat", reference).returncode == 2


# The node -----------------------------------------------------------------------------------------


@pytest.fixture
def node(runnel, tmp_path):
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("a node needs root and /dev/fuse")
    made = services.Node(tmp_path / "node")
    try:
        yield made.start()
    finally:
        made.stop()


class Unix(http.client.HTTPConnection):
    def __init__(self, path: Path):
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def asked(connection: http.client.HTTPConnection, method: str, path: str) -> tuple[int, bytes]:
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_control_socket_processes_and_mirror_of_a_node(node):
    assert "mode 0600" in ROWS["control socket"]
    assert stat.S_IMODE(node.control.stat().st_mode) == 0o600
    wants_a_body = ("/login", "/logout", "/check-registry", "/profile", "/materialize",
                    "/repull", "/why")
    for route in fixed("control socket"):
        method, path = route.split()
        status, body = asked(Unix(node.control), method, path)
        assert status == (400 if path in wants_a_body else 200), route
        assert isinstance(json.loads(body), dict)
    assert asked(Unix(node.control), "GET", "/no/such")[0] == 404

    assert "its one direct child is the worker" in ROWS["processes"]
    children = Path(f"/proc/{node.daemon.pid}/task/{node.daemon.pid}/children").read_text().split()
    assert len(children) == 1

    def mirror(path: str) -> tuple[int, bytes]:
        return asked(http.client.HTTPConnection("127.0.0.1", node.mirror_port, timeout=60),
                     "GET", path)
    assert "`GET /status` and nothing else" in ROWS["mirror"]
    assert mirror("/status")[0] == 200
    assert mirror("/clear")[0] == 404
    assert "`/v2/_runnel/token?ns=HOST`" in ROWS["mirror"]
    assert mirror("/v2/_runnel/token")[0] == 400
    assert "503 with an OCI error body" in ROWS["mirror"]
    nobody = daemons.free_port()
    status, body = mirror(f"/v2/team/app/manifests/1?ns=127.0.0.1:{nobody}")
    assert status == 503
    assert json.loads(body)["errors"][0]["message"]


@pytest.mark.parametrize("command", [("status",), ("clear",), ("why", "app"),
                                     ("check-registry", "127.0.0.1:9/team/app:v1")])
def test_root_is_short_for_a_control_socket_which_is_named_when_it_is_missing(command, tmp_path):
    assert "short for --control DIR/control.sock" in " ".join(help_of("node", *command).split())

    done = runnel("node", *command, "--root", str(tmp_path))

    assert done.returncode == 1
    assert f"there is no socket {tmp_path}/control.sock" in done.stderr.decode()
    assert "give the --control" in done.stderr.decode()


def test_the_environments_control_socket_is_taken_unless_root_or_control_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNNEL_CONTROL", f"{tmp_path}/of-environment.sock")
    assert f"no socket {tmp_path}/of-environment.sock" in runnel("node", "status").stderr.decode()

    given = runnel("node", "status", "--root", str(tmp_path))
    assert f"no socket {tmp_path}/control.sock" in given.stderr.decode()
    given = runnel("node", "status", "--control", f"{tmp_path}/given.sock")
    assert f"no socket {tmp_path}/given.sock" in given.stderr.decode()


def test_install_and_units():
    install = help_of("node", "install")
    assert "--registry" in install and "--dry-run" in install
    assert "--force" in help_of("node", "uninstall")
    assert "conf.d/runnel.toml" in fixed("install")
    units = services.project_root() / "packaging/systemd"
    for unit in ("runnel-node.service", "runnel-registry.service"):
        assert unit in fixed("install")
        assert (units / unit).exists()
    assert "Alias=teleportd.service" in (units / "runnel-node.service").read_text()


def test_reason_codes():
    program = Path(services.program()).read_bytes()

    codes = set(ROWS["reason codes"].split(", "))

    assert {code for code in codes if code.encode() + b"\0" not in program} <= NOT_SAID_YET
    assert NOT_SAID_YET <= codes
