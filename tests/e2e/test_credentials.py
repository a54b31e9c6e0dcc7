"""Where the node's right to read comes from, how long it lasts, and that no secret leaves it.

Tokens here live for a second, where a registry's live for minutes: what matters is that they end
between the pull and the read of a file that nobody has read yet.
"""

from __future__ import annotations

import base64
import datetime
import errno
import json
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from corpus import layers
from guarded_registry import Certificates, GuardedRegistry, Storage
from runnel_env import engines
from sandbox import daemons, images, services
from sandbox.containerd import CommandError, run

LIFE = 1.0
PASSWORD = "correct-horse-battery-staple"
USER = "pod"
# More than one request: the node reads at most 4 MiB at once, and a reader gets read-ahead.
FILES = {f"cold/{n}": bytes([65 + n]) * 300_000 for n in range(4)}


@pytest.fixture(scope="module")
def pushed(lab):
    """One image for all; each test reads it through a guard of its own."""
    made = lab.push("secret-app", layers(lab.directory("creds"), write_files))
    services.convert(made.reference)
    return made


def write_files(tar) -> None:
    tar.directory("cold")
    for name, content in FILES.items():
        tar.file(name, content)


@pytest.fixture
def guarded(lab):
    """A maker of guards before the lab's registry."""
    made = []

    def make(**options) -> GuardedRegistry:
        options = {"users": {USER: PASSWORD}, "life": LIFE, **options}
        made.append(GuardedRegistry(lab.registry.host, **options))
        return made[-1].start()
    yield make
    for guard in made:
        guard.stop()


@pytest.fixture
def side_for(fresh_streaming, tmp_path):
    """A maker of nodes that know nobody's password, for one guard."""
    def make(guard: GuardedRegistry, *arguments: str, config: str = "", server: str | None = None,
             settings: str = ""):
        file = tmp_path / "node.toml"
        file.write_text("version = 1\n" + config + ("" if "docker_configs" in config else
                        f'\n[credentials]\ndocker_configs = ["{tmp_path}/nobody.json"]\n'))
        # Without read-ahead, or what is to be read cold would be here before.
        side = fresh_streaming(engines()[0], more_arguments=(
            "--no-read-ahead", "--streaming-registry", guard.host, "--config", str(file), *arguments))
        side.containerd.use_mirror(guard.host, side.node.mirror, server, settings)
        return side
    return make


def reference(guard: GuardedRegistry) -> str:
    return f"{guard.host}/secret-app:1"


def read(side, pushed, name: str) -> bytes:
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        return (root / name).read_bytes()


def assert_reads_after_the_token(side, guard, pushed, name: str) -> None:
    daemons.wait_until(guard.all_tokens_expired, 30, "the tokens' end")
    assert read(side, pushed, name) == FILES[name]


def restart(side) -> None:
    side.node.stop()
    side.node.start()
    side.wait_for_containerd()


def node_log(side) -> str:
    return "\n".join(path.read_text(errors="replace")
                     for path in side.node.directory.glob("*.log"))


def assert_no_secret_in_sight(side, *secrets: str) -> None:
    """Not in a log, not in a file that others may read; cmdlines are looked at by `pull_watched`."""
    texts = [base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), *secrets]
    for path in files_of(side.node.directory, side.containerd.directory):
        try:
            about = path.lstat()
            if not stat.S_ISREG(about.st_mode) or about.st_size > 8 << 20:
                continue
            is_log = path.suffix in (".log", ".toml", ".out")
            if is_log or about.st_mode & (stat.S_IRGRP | stat.S_IROTH):
                content = path.read_bytes()
                assert not [t for t in texts if t.encode() in content], path
        except FileNotFoundError:  # the node and containerd go on working meanwhile
            continue


def files_of(*directories: Path):
    """What is stored in them; not what is mounted there, whose reads would be fetches."""
    for top in directories:
        for directory, below, names in os.walk(top):
            below[:] = [name for name in below if not os.path.ismount(os.path.join(directory, name))]
            yield from (Path(directory, name) for name in names)


def pull_watched(side, guard) -> None:
    """Pulls with the pod's secret, and looks at every command line of the machine meanwhile."""
    seen = set()

    def watch() -> None:
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(line.read_bytes())
            except OSError:
                pass
    with _Watching(watch):
        side.pull(reference(guard), USER, PASSWORD)
    assert any(b"--password-stdin" in line for line in seen)
    assert not any(PASSWORD.encode() in line for line in seen)


class _Watching:
    """Calls a function over and over on a thread."""

    def __init__(self, call):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)

    def _run(self, call) -> None:
        while not self._stop.wait(0.005):
            call()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


# A pod's secret, as kubelet sends it ---------------------------------------------------------------


def test_a_pods_secret_reads_on_for_its_repository_and_not_after_a_restart(guarded, side_for, pushed):
    guard = guarded()
    side = side_for(guard, "--read-timeout", "3")  # what nobody may read is an error after that
    with pytest.raises(CommandError):
        side.pull(reference(guard))

    pull_watched(side, guard)

    assert side.image_status(reference(guard))["reason"] == "Streaming"
    before = guard.tokens_given()
    assert_reads_after_the_token(side, guard, pushed, "cold/0")
    assert guard.tokens_given() > before, "the node renewed the token itself"
    assert all(one.path.startswith(("/v2/secret-app/", "/token", "/v2/"))
               for one in guard.requests(by_the_node=True))
    assert_no_secret_in_sight(side, PASSWORD)

    side.kill_worker()
    side.wait_for_containerd()
    assert_reads_after_the_token(side, guard, pushed, "cold/2")

    worker = side.node.worker
    os.kill(side.node.daemon.pid, signal.SIGHUP)  # a newer version of the program takes over
    side.wait_for_another_worker(worker)
    side.wait_for_containerd()
    assert_reads_after_the_token(side, guard, pushed, "cold/3")

    restart(side)
    missing = wait_for_reason(side, guard, "CredentialsMissing")
    assert "runnel login" in missing["detail"]
    with pytest.raises(OSError):
        read(side, pushed, "cold/1")

    # Kubelet pulls again (imagePullPolicy: Always), and brings the secret.
    side.pull(reference(guard), USER, PASSWORD)
    assert_reads_after_the_token(side, guard, pushed, "cold/1")
    assert side.image_status(reference(guard))["reason"] == "Streaming"


def wait_for_reason(side, guard, reason: str) -> dict:
    daemons.wait_until(lambda: side.image_status(reference(guard)).get("reason") == reason, 30,
                       f"the reason {reason}")
    return side.image_status(reference(guard))


def test_what_nobody_may_read_is_an_error_at_once_and_read_again_after_a_login(guarded, side_for,
                                                                               pushed):
    """A read has 60 seconds here; who waits for a person's login must not hang for each of them."""
    guard = guarded()
    side = side_for(guard)
    side.pull(reference(guard), USER, PASSWORD)
    restart(side)
    wait_for_reason(side, guard, "CredentialsMissing")
    with side.containerd.view(pushed.image.chain_ids[-1]) as root:
        began = time.monotonic()
        with pytest.raises(OSError) as failure:
            (root / "cold/1").read_bytes()
        assert failure.value.errno == errno.EIO
        assert time.monotonic() - began < 30, "half of what one read may take"

        run([services.program(), "login", guard.host, "--user", USER, "--password-stdin",
             "--control", str(side.node.control)], input=PASSWORD + "\n")

        assert (root / "cold/1").read_bytes() == FILES["cold/1"]
    assert side.image_status(reference(guard))["reason"] == "Streaming"


def test_a_wrong_secret_is_refused_and_not_kept(guarded, side_for):
    guard = guarded()
    side = side_for(guard)

    with pytest.raises(CommandError):
        side.pull(reference(guard), USER, "wrong")

    assert guard.requests("/v2/secret-app", by_the_node=True) == []


def test_basic_credentials_of_a_pod_are_kept_too(guarded, side_for, pushed):
    guard = guarded(basic=True)
    side = side_for(guard)

    side.pull(reference(guard), USER, PASSWORD)

    assert side.image_status(reference(guard))["reason"] == "Streaming"
    assert read(side, pushed, "cold/0") == FILES["cold/0"]


def test_a_wrong_password_in_a_file_does_not_hide_the_pods(guarded, side_for, pushed, tmp_path):
    guard = guarded()
    docker = tmp_path / "docker.json"
    docker.write_text(json.dumps({"auths": {guard.host: {
        "auth": base64.b64encode(b"somebody:else").decode()}}}))
    side = side_for(guard, config=f'[credentials]\ndocker_configs = ["{docker}"]\n')

    side.pull(reference(guard), USER, PASSWORD)

    assert side.image_status(reference(guard))["reason"] == "Streaming"
    assert_reads_after_the_token(side, guard, pushed, "cold/0")


# Credentials that can be had again ------------------------------------------------------------------


def assert_survives_a_restart(side, guard, pushed) -> None:
    assert side.image_status(reference(guard))["reason"] == "Streaming"
    assert_reads_after_the_token(side, guard, pushed, "cold/0")
    restart(side)
    assert_reads_after_the_token(side, guard, pushed, "cold/1")
    assert side.image_status(reference(guard))["reason"] == "Streaming"


def test_a_login_survives_a_restart(guarded, side_for, pushed):
    guard = guarded()
    side = side_for(guard)
    login = [services.program(), "login", guard.host, "--user", USER, "--password-stdin",
             "--control", str(side.node.control)]
    with pytest.raises(CommandError, match="401"):
        run(login, input="wrong\n")

    run(login, input=PASSWORD + "\n")

    kept = side.node.root / "logins.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    side.pull(reference(guard), USER, PASSWORD)
    assert_survives_a_restart(side, guard, pushed)
    assert_no_secret_in_sight(side, PASSWORD)
    run([services.program(), "logout", guard.host, "--control", str(side.node.control)])
    assert PASSWORD not in kept.read_text() and guard.host not in kept.read_text()


def test_kubelets_provider_survives_a_restart(guarded, side_for, pushed, tmp_path):
    guard = guarded()
    programs = tmp_path / "providers"
    programs.mkdir()
    (programs / "provider").write_text(
        "#!/bin/sh\ncat >> " + str(tmp_path / "asked") + "\n"
        'echo \'{"kind":"CredentialProviderResponse",'
        '"apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry",'
        '"cacheDuration":"1h","auth":{"' + guard.host + '":{"username":"' + USER + '",'
        '"password":"' + PASSWORD + '"}}}\'\n')
    (programs / "provider").chmod(0o755)
    config = tmp_path / "providers.yaml"
    config.write_text("apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"
                      f"providers:\n- name: provider\n  matchImages: ['{guard.host}']\n"
                      "  defaultCacheDuration: 1h\n"
                      "  apiVersion: credentialprovider.kubelet.k8s.io/v1\n")
    side = side_for(guard, config=f'[credentials]\nprovider_config = "{config}"\n'
                    f'provider_directory = "{programs}"\ndocker_configs = ["/no/such"]\n')

    side.pull(reference(guard), USER, PASSWORD)

    assert_survives_a_restart(side, guard, pushed)
    asked = (tmp_path / "asked").read_text()
    assert json.loads(asked.split("}")[0] + "}")["image"] == f"{guard.host}/secret-app"
    assert asked.count("}") == 2, "once for each life of the node, not once for each token"


# A token, and nobody knows another ------------------------------------------------------------------


def test_an_image_that_hangs_on_a_token_is_filled_at_once(guarded, side_for, pushed):
    guard = guarded(jwt=True)
    token = guard.token(USER, 3600)
    side = side_for(guard)
    file = side.containerd.certs / guard.host / "hosts.toml"
    file.write_text(f'{file.read_text()}\n[host."http://{side.node.mirror}".header]\n'
                    f'  Authorization = "Bearer {token}"\n')
    guard.ranges_may_go.clear()

    side.pull(reference(guard))

    status = side.image_status(reference(guard))
    assert status["reason"] == "Streaming", status
    end = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["exp"]
    until = datetime.datetime.fromisoformat(status["readable_until"].replace("Z", "+00:00"))
    assert until.timestamp() == end
    guard.ranges_may_go.set()
    daemons.wait_until(
        lambda: all(layer["complete"] for layer in side.image_status(reference(guard))["layers"]),
        60, "the image to be complete although the background fill is off")
    guard.stop()
    for name, content in FILES.items():
        assert read(side, pushed, name) == content
    assert "readable_until" not in side.image_status(reference(guard))
    assert_no_secret_in_sight(side)
    assert token not in node_log(side)


# How registries are reached -------------------------------------------------------------------------


def test_redirects_are_kept_until_they_fail_and_authorization_stays_behind(lab, guarded, side_for,
                                                                           pushed):
    storage = Storage(lab.registry.host, uses=3).start()
    guard = guarded(storage=storage, life=600)
    side = side_for(guard)
    try:
        side.pull(reference(guard), USER, PASSWORD)
        assert side.image_status(reference(guard))["reason"] == "Streaming"
        for name, content in FILES.items():
            assert read(side, pushed, name) == content
    finally:
        storage.stop()
    ranged = [one for one in storage.seen if "range" in one.headers]
    assert any(one.status == 403 for one in ranged), "an address had been used up"
    signed = [one for one in guard.requests("/blobs/", by_the_node=True) if "range" in one.headers]
    assert len(signed) < len(ranged), "an address is used more than once"
    for one in storage.seen:
        assert not one.authorization and "cookie" not in one.headers, one


def test_private_authority_client_certificate_and_headers(lab, guarded, side_for, pushed):
    keys = Certificates(lab.directory("certificates"))
    guard = guarded(tls=keys.context(ask_client=True), life=600)
    certificate, key = keys.client
    side = side_for(guard, server=f"https://{guard.host}",
                    settings=f'ca = "{keys.ca}"\nclient = [["{certificate}", "{key}"]]')
    run([services.program(), "login", guard.host, "--user", USER, "--password-stdin",
         "--control", str(side.node.control)], input=PASSWORD)

    # The mirror lends its certificate to nobody; containerd goes there itself, and the node learns
    # of the image from the CRI's labels.
    side.pull(reference(guard), USER, PASSWORD)

    assert side.image_status(reference(guard))["reason"] == "Streaming"
    assert read(side, pushed, "cold/0") == FILES["cold/0"]
    assert guard.requests("/blobs/", by_the_node=True)
    status, _, body = images.request(
        f"http://{side.node.mirror}/v2/secret-app/manifests/1?ns={guard.host}")
    assert status == 503 and b"lent to nobody" in body


# check-registry ---------------------------------------------------------------------------------------


def check(side, what: str) -> tuple[int, list[dict]]:
    done = subprocess.run([services.program(), "node", "check-registry", what, "--json",
                           "--control", str(side.node.control)], capture_output=True, timeout=120)
    assert done.returncode in (0, 1), done
    return done.returncode, json.loads(done.stdout)["steps"]


def assert_stops_at(side, what: str, step: str, next_part: str) -> None:
    code, steps = check(side, what)
    assert code == 1
    assert [s["ok"] for s in steps] == [True] * (len(steps) - 1) + [False], steps
    assert steps[-1]["step"] == step, steps
    assert next_part in steps[-1]["next"]
    assert steps[-1]["detail"]


def test_check_registry_goes_step_by_step(lab, guarded, side_for, pushed):
    guard = guarded(life=600, repositories={USER: ["secret-app", "secret-plain"]})
    lab.push("secret-plain", layers(lab.directory("plain"), lambda t: t.file("f", b"1")))
    side = side_for(guard)

    assert_stops_at(side, f"127.0.0.1:{daemons.free_port()}/a/b", "configured", "hosts.toml")
    nobody = f"127.0.0.1:{daemons.free_port()}"
    side.containerd.use_mirror(nobody, side.node.mirror)
    assert_stops_at(side, f"{nobody}/a/b", "connect", "check the network")
    side.containerd.use_mirror("registry.invalid", side.node.mirror, "https://registry.invalid")
    assert_stops_at(side, "registry.invalid/a/b", "resolve", "DNS")
    assert_stops_at(side, reference(guard), "token", f"runnel login {guard.host}")
    run([services.program(), "login", guard.host, "-u", USER, "--password-stdin",
         "--control", str(side.node.control)], input=PASSWORD)
    assert_stops_at(side, f"{guard.host}/other/app:1", "pull", "right to pull")
    assert_stops_at(side, f"{guard.host}/secret-app:no-such-tag", "pull", "tag")
    assert_stops_at(side, f"{guard.host}/secret-plain:1", "artifact", "runnel convert")
    assert check(side, reference(guard))[0] == 0

    side.containerd.use_mirror(lab.registry.host, side.node.mirror)
    assert_stops_at(side, f"{lab.registry.host}/secret-app:1", "trust", "streaming_registries")
    human = run([services.program(), "node", "check-registry", reference(guard),
                 "--control", str(side.node.control)])
    assert human.splitlines()[-1].startswith("ok   trust")
