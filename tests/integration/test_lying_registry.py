"""The lying registry lies as its rules say, by the seed, and otherwise tells the truth."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import threading
import time

import pytest

import lies
from liar import Liar, LiarError
from sandbox import images, services

CONTENT = random.Random(7).randbytes(300_000)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
BLOB = f"/v2/team/app/blobs/{DIGEST}"
PART = slice(40_000, 140_000)


@pytest.fixture(scope="module")
def upstream(runnel, tmp_path_factory):
    made = services.Registry(tmp_path_factory.mktemp("lying") / "registry").start()
    try:
        status, headers, _ = images.request(f"http://{made.host}/v2/team/app/blobs/uploads/", "POST")
        assert status == 202
        mark = "&" if "?" in headers["location"] else "?"
        where = headers["location"]
        where = where if where.startswith("http") else f"http://{made.host}{where}"
        status, _, body = images.request(f"{where}{mark}digest={DIGEST}", "PUT", data=CONTENT)
        assert status == 201, body
        yield made.host
    finally:
        made.stop()


@pytest.fixture
def liar(upstream):
    with Liar(upstream) as made:
        yield made


class Answer:
    """What a client got: `error` when the connection did not bring all that the head announced."""

    def __init__(self, host: str, path: str = BLOB, part: slice | None = PART, method: str = "GET",
                 headers: dict | None = None, timeout: float = 20):
        connection = http.client.HTTPConnection(host, timeout=timeout)
        headers = dict(headers or {})
        if part is not None:
            headers["Range"] = f"bytes={part.start}-{part.stop - 1}"
        self.status, self.headers, self.body, self.error = 0, {}, b"", None
        begin = time.monotonic()
        try:
            connection.request(method, path, headers=headers)
            got = connection.getresponse()
            self.status, self.headers = got.status, {k.lower(): v for k, v in got.headers.items()}
            self.body = got.read()
        except http.client.IncompleteRead as error:
            self.body, self.error = error.partial, error
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            self.seconds = time.monotonic() - begin
            connection.close()


def test_without_rules_it_tells_the_truth(liar):
    part, whole = Answer(liar.host), Answer(liar.host, part=None)

    assert (part.status, part.body) == (206, CONTENT[PART])
    assert part.headers["content-range"] == f"bytes {PART.start}-{PART.stop - 1}/{len(CONTENT)}"
    assert (whole.status, whole.body) == (200, CONTENT)
    assert Answer(liar.host, part=None, method="HEAD").headers["content-length"] == str(len(CONTENT))
    assert Answer(liar.host, "/v2/none/blobs/" + DIGEST).status == 404
    assert liar.counters()["lies"] == {}
    assert liar.counters()["requests"] == 4


@pytest.mark.parametrize("lie, check", [
    ({"kind": "cut", "at": 1000}, lambda a: a.error and a.body == CONTENT[PART][:1000]),
    ({"kind": "cut", "at": 1000, "reset": True}, lambda a: a.error),
    ("drop", lambda a: a.error and not a.status),
    ({"kind": "drop", "reset": True}, lambda a: isinstance(a.error, ConnectionResetError)),
    ({"kind": "stall", "at": 5, "seconds": 0.3},
     lambda a: a.body == CONTENT[PART] and a.seconds >= 0.3),
    ({"kind": "stall", "at": -1, "seconds": 0.3},
     lambda a: a.body == CONTENT[PART] and a.seconds >= 0.3),
    ({"kind": "slow", "rate": 400_000}, lambda a: a.body == CONTENT[PART] and a.seconds > 0.1),
    ("flip", lambda a: bits(a.body, CONTENT[PART]) == 1),
    ({"kind": "flip", "bits": 9}, lambda a: bits(a.body, CONTENT[PART]) == 9),
    ("garbage", lambda a: len(a.body) == 100_000 and bits(a.body, CONTENT[PART]) > 300_000),
    ("zeros", lambda a: a.body == bytes(100_000)),
    ("swap", lambda a: a.body != CONTENT[PART] and sorted(a.body) == sorted(CONTENT[PART])),
    ("other_range", lambda a: a.status == 206 and a.body in CONTENT and a.body != CONTENT[PART]
     and a.headers["content-range"].startswith(f"bytes {PART.start}-{PART.stop - 1}/")),
    ("wrong_range", lambda a: a.status == 206 and a.body in CONTENT and a.body != CONTENT[PART]
     and not a.headers["content-range"].startswith(f"bytes {PART.start}-")),
    ("whole", lambda a: (a.status, a.body) == (200, CONTENT) and "content-range" not in a.headers),
    ("part_as_whole", lambda a: (a.status, a.body) == (200, CONTENT[PART])),
    ("long", lambda a: a.body == CONTENT[PART]),
    ({"kind": "body", "text": "short"}, lambda a: (a.status, a.body) == (206, b"short")),
    ({"kind": "status", "status": 416}, lambda a: a.status == 416),
    ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}},
     lambda a: a.status == 429 and a.headers["retry-after"] == "7"),
    ({"kind": "status", "status": 401}, lambda a: "www-authenticate" in a.headers),
], ids=lambda value: json.dumps(value)[:40] if not callable(value) else "")
def test_it_lies_as_it_is_told(liar, lie, check):
    liar.rules({"method": "GET", "path": "/blobs/", "times": 1, "lie": lie}, seed=3)

    lied, after = Answer(liar.host), Answer(liar.host)

    assert check(lied), (lied.status, lied.headers, len(lied.body), lied.error, lied.seconds)
    assert (after.status, after.body) == (206, CONTENT[PART])
    assert sum(liar.counters()["lies"].values()) == 1


def bits(left: bytes, right: bytes) -> int:
    assert len(left) == len(right)
    return sum((a ^ b).bit_count() for a, b in zip(left, right))


def test_a_rule_may_be_about_some_bytes_only(liar):
    liar.rules({"bytes": [PART.stop - 1, PART.stop + 1000], "lie": "zeros"})

    before, across = slice(PART.start, PART.stop - 1), slice(PART.stop - 2, PART.stop)

    assert Answer(liar.host, part=before).body == CONTENT[before]
    assert Answer(liar.host, part=across).body == bytes(2)
    assert Answer(liar.host, part=slice(PART.stop + 1001, len(CONTENT))).body == CONTENT[PART.stop + 1001:]
    assert Answer(liar.host, part=None).body == bytes(len(CONTENT)), "that is all of them"


def test_a_stall_without_end_ends_when_it_is_released(liar):
    liar.rules({"lie": {"kind": "stall", "at": 10}})
    found = []
    thread = threading.Thread(target=lambda: found.append(Answer(liar.host)))
    thread.start()
    liar.wait_for(lambda counters: counters["lies"].get("stall"))

    liar.release()
    thread.join(10)

    assert [answer.body for answer in found] == [CONTENT[PART]]


def test_a_client_that_leaves_ends_a_stall(liar):
    liar.rules({"lie": {"kind": "stall", "at": 10}})

    assert Answer(liar.host, timeout=0.2).error

    liar.honest()
    assert Answer(liar.host).body == CONTENT[PART]


def test_redirects_are_good_until_they_expire(liar):
    liar.rules({"method": "GET", "path": "^/v2/.*/blobs/", "lie": {"kind": "redirect", "seconds": 1}})
    sent = Answer(liar.host)
    assert sent.status == 302
    address = sent.headers["location"].removeprefix(f"http://{liar.host}")

    assert Answer(liar.host, address).body == CONTENT[PART]
    assert Answer(liar.host, address.replace("team", "tean")).status == 403
    liar.wait_for(lambda _: Answer(liar.host, address).status == 403, 10)
    assert liar.counters()["authorization_leaked"] == 0
    Answer(liar.host, address, headers={"Authorization": "Bearer x"})
    assert liar.counters()["authorization_leaked"] == 1


def test_tokens_expire(liar):
    liar.tokens(life=1, says=300)
    refused = Answer(liar.host)
    assert refused.status == 401
    assert 'scope="repository:team/app:pull' in refused.headers["www-authenticate"]
    given = json.loads(Answer(liar.host, "/token?service=lying", None).body)
    assert given["expires_in"] == 300
    bearer = {"Authorization": "Bearer " + given["token"]}

    assert Answer(liar.host, headers=bearer).body == CONTENT[PART]
    liar.wait_for(lambda _: Answer(liar.host, headers=bearer).status == 401, 10)
    liar.tokens(life=60)
    fresh = json.loads(Answer(liar.host, "/token", None).body)["token"]
    liar.revoke()
    assert Answer(liar.host, headers={"Authorization": "Bearer " + fresh}).status == 401
    liar.tokens(life=None)
    assert Answer(liar.host).status == 206


def test_nobody_listens_while_it_is_down(liar):
    liar.down()
    assert isinstance(Answer(liar.host).error, ConnectionRefusedError)

    liar.up()
    assert Answer(liar.host).status == 206


def test_a_script_goes_on_by_requests_and_by_time(liar):
    liar.script({"rules": [{"lie": {"kind": "status", "status": 500}}], "requests": 2},
                {"rules": [{"lie": {"kind": "status", "status": 503}}], "seconds": 0.2},
                {"rules": []})
    assert [Answer(liar.host).status for _ in range(3)] == [500, 500, 503]
    liar.wait_for(lambda _: Answer(liar.host).status == 206, 10)
    assert liar.counters()["step"] == 2


def test_rules_that_make_no_sense_are_refused_and_change_nothing(liar):
    liar.rules({"lie": {"kind": "status", "status": 500}})

    for bad in ({"lie": "perjury"}, {"path": "("}, {"colour": "red"}):
        with pytest.raises(LiarError):
            liar.rules(bad)

    assert Answer(liar.host).status == 500


# The rules alone ----------------------------------------------------------------------------------


def decisions(seed: int, count: int = 200, **more) -> list[str]:
    rules = lies.Rules()
    rules.set([{"probability": 0.3, "lie": ["cut", "flip", "drop"], **more}], seed)
    return [rules.decide(lies.Request("GET", "/v2/x", (0, 9))).kind for _ in range(count)]


def test_the_seed_alone_decides():
    assert decisions(1) == decisions(1)
    assert decisions(1) != decisions(2)
    assert 30 < sum(kind != "pass" for kind in decisions(1)) < 90
    assert set(decisions(1)) == {"pass", "cut", "flip", "drop"}


def test_after_and_times_bound_a_rule():
    told = decisions(1, 10, probability=1, after=2, times=3)

    assert [kind != "pass" for kind in told] == [False] * 2 + [True] * 3 + [False] * 5


def test_the_first_rule_that_matches_wins():
    rules = lies.Rules()
    rules.set([{"method": "PUT", "lie": "drop"}, {"path": "/blobs/", "ranged": True, "lie": "flip"},
               {"lie": "zeros"}])

    def kind(*request):
        return rules.decide(lies.Request(*request)).kind
    assert kind("PUT", "/v2/x/blobs/y") == "drop"
    assert kind("GET", "/v2/x/blobs/y", (0, 1)) == "flip"
    assert kind("GET", "/v2/x/blobs/y") == "zeros"
