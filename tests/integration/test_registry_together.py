"""Two registries on one data directory: what one changes holds for the other's next request, also
for a blob that it has just read, remembers and has open."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from registry_calls import Calls, basic, digest, image, push_blob, push_manifest
from sandbox import daemons, services
from test_registry_security import PEOPLE, Guarded, bearer, make_token, token_of

DATA = bytes(range(256)) * 1024


class Pair:
    """The same configuration and data twice."""

    def __init__(self, directory: Path):
        self.data = directory / "one/data"
        self.one = Guarded(directory / "one", "\n")
        self.other = Guarded(directory / "other", "\n")
        alone = self.other._argv

        def argv() -> list[str]:
            made = alone()
            made[made.index("--data") + 1] = str(self.data)
            return made

        self.other._argv = argv
        self.calls: list[Calls] = []

    def __enter__(self) -> "Pair":
        self.one.start()
        self.other.start()
        return self

    def __exit__(self, *_) -> None:
        for call in self.calls:
            call.close()
        self.other.stop()
        self.one.stop()

    def at_one(self, name: str, password: str | None = None) -> Calls:
        return self._calls(self.one, name, password)

    def at_other(self, name: str, password: str | None = None) -> Calls:
        return self._calls(self.other, name, password)

    def _calls(self, registry, name: str, password: str | None) -> Calls:
        self.calls.append(Calls(registry.host, basic(name, password or PEOPLE[name])))
        return self.calls[-1]


@pytest.fixture
def pair(runnel, tmp_path):  # noqa: ARG001
    with Pair(tmp_path) as made:
        yield made


def read(call: Calls, name: str, repository: str = "team/app", times: int = 3) -> int:
    """The status of the last of several ranges; the bytes of all that come are looked at."""
    status = 0
    for number in range(times):
        begin = 100 * number
        answer = call("GET", f"/v2/{repository}/blobs/{name}",
                      headers={"Range": f"bytes={begin}-{begin + 9}"})
        status = answer.status
        if status == 206:
            assert answer.body == DATA[begin:begin + 10]
    return status


def settle(path: Path) -> None:
    """A file that changed within a second is not kept open: makes this one older."""
    changed = path.stat().st_ctime
    daemons.wait_until(lambda: time.time() > changed + 1.1, 10, "a second to pass")


def file_of(pair: Pair, name: str) -> Path:
    hexadecimal = name.partition(":")[2]
    return pair.data / "content/blobs/sha256" / hexadecimal[:2] / hexadecimal


def switch(call: Calls, **attributes: bool) -> None:
    assert call("PATCH", "/acr/v1/team/app", json.dumps(attributes).encode()).status == 200


def test_what_the_other_switches_off_or_deletes_is_not_read_any_more(pair):
    reader, owner = pair.at_one("reader"), pair.at_other("owner")
    name = push_blob(owner, "team/app", DATA)
    settle(file_of(pair, name))
    assert read(reader, name) == 206

    switch(owner, readEnabled=False)
    assert read(reader, name, times=1) == 403
    switch(owner, readEnabled=True)
    assert read(reader, name) == 206

    assert owner("DELETE", f"/v2/team/app/blobs/{name}").status == 202
    assert read(reader, name, times=1) == 404
    push_blob(owner, "team/app", DATA)
    assert read(reader, name) == 206


def test_what_the_other_deletes_softly_stays_readable_until_it_is_purged(pair):
    """Deleting an image hides its manifest; its blobs are the repository's until they go."""
    reader, owner = pair.at_one("reader"), pair.at_other("owner")
    name = push_blob(owner, "team/app", DATA)
    push_manifest(owner, "team/app", "v1", image(DATA))
    settle(file_of(pair, name))
    assert read(reader, name) == 206
    assert reader("GET", "/v2/team/app/manifests/v1").status == 200

    assert owner("DELETE", f"/v2/team/app/manifests/{digest(image(DATA))}").status == 202
    assert reader("GET", "/v2/team/app/manifests/v1").status == 404
    assert owner("DELETE", f"/v2/team/app/blobs/{name}").status == 202  # only a deleted one needs it
    assert read(reader, name, times=1) == 404
    (deletion,) = owner("GET", "/runnel/v1/_soft-delete").json()["deletions"]
    assert owner("POST", f"/runnel/v1/_soft-delete/{deletion['id']}:restore").status == 200
    assert read(reader, name) == 206
    assert owner("DELETE", "/acr/v1/team/app").status == 202
    assert read(reader, name, times=1) == 404


def test_a_file_that_was_removed_is_not_read_from_an_open_descriptor(pair):
    reader, owner = pair.at_one("reader"), pair.at_other("owner")
    name = push_blob(owner, "team/app", DATA)
    settle(file_of(pair, name))
    assert read(reader, name) == 206

    file_of(pair, name).unlink()  # as the collector does once nobody links it
    assert read(reader, name, times=1) == 404
    push_blob(owner, "team/app", DATA)
    assert read(reader, name) == 206


def test_a_damaged_blob_that_was_set_aside_is_not_read_any_more(pair):
    reader, owner = pair.at_one("reader"), pair.at_other("owner")
    name = push_blob(owner, "team/app", DATA)
    file = file_of(pair, name)
    settle(file)
    assert read(reader, name) == 206
    with file.open("r+b") as damaged:
        damaged.seek(200_000)
        damaged.write(b"not what was pushed")
    settle(file)
    assert read(reader, name) == 206  # where it is not damaged, and the file is kept open again

    care("fsck", pair, "--repair")
    assert not file.exists()
    assert read(reader, name, times=1) == 404
    push_blob(owner, "team/app", DATA)
    answer = reader("GET", f"/v2/team/app/blobs/{name}")
    assert (answer.status, answer.body) == (200, DATA)


def test_rights_that_the_other_takes_away_are_gone(pair):
    owner = pair.at_other("owner")
    name = push_blob(owner, "team/app", DATA)
    password = make_token(pair.at_other, "ci", ["repositories/team/*/content/read"])
    by_password, by_token = pair.at_one("ci", password), pair.at_one("ci", password)
    bearer(by_token, token_of(by_token, "repository:team/app:pull"))
    assert read(by_password, name) == read(by_token, name) == 206

    def map_to(actions: list[str]) -> None:
        assert owner("PUT", "/runnel/v1/_scope-maps/ci",
                     json.dumps({"actions": actions}).encode()).status == 200

    map_to(["repositories/elsewhere/content/read"])
    assert read(by_password, name, times=1) == 404
    assert read(by_token, name, times=1) in (401, 404)
    map_to(["repositories/team/*/content/read"])
    assert read(by_password, name) == read(by_token, name) == 206
    assert owner("DELETE", "/runnel/v1/_tokens/ci").status in (200, 202, 204)
    assert read(by_password, name, times=1) == read(by_token, name, times=1) == 401


def care(command: str, pair: Pair, *arguments: str) -> None:
    done = subprocess.run([services.program(), "registry", command, "--data", str(pair.data),
                           *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
