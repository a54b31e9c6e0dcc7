"""`runnel artifact-streaming` against the recorded API: which requests it makes, what it says."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from recorded_streaming import CORRELATION, Operation, Recorded
from sandbox import services

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
ID = "0f5b5c5e-7d0b-4a53-9d2c-3a7c4b1f0e11"
STREAMING = "application/vnd.azure.artifact.streaming.v1"
ENTRY = {"annotations": {"streaming.format": "overlaybd"}, "artifactType": STREAMING,
         "digest": OTHER, "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 17266}
CONVERSION = {"conversionFormat": "overlaybd", "conversionVersion": "v1"}


@pytest.fixture
def recorded():
    made = Recorded(tags={"v1": DIGEST}).start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def run(recorded, tmp_path):
    def go(*command: str, code: int = 0) -> subprocess.CompletedProcess:
        done = subprocess.run([services.program(), "artifact-streaming", *command],
                              capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL,
                              env={**os.environ, "RUNNEL_REGISTRY": recorded.host,
                                   "DOCKER_CONFIG": str(tmp_path)})
        assert done.returncode == code, done
        return done

    return go


CREATE = ("create", "--image", "team/app:v1", "--poll-interval", "0.05")


def test_create_makes_the_recorded_requests_and_waits(run, recorded):
    recorded.next_operation = (ID, Operation(DIGEST, [
        ("NotStarted", "0%"), ("Running", "8%"), ("Running", "80%"), ("Succeeded", "100%")]))
    done = run(*CREATE)

    assert json.loads(done.stdout) == {"id": ID, "status": "Succeeded"}
    assert done.stderr.splitlines() == [
        "The operation is in progress. Use 'runnel artifact-streaming operation show -n "
        f"{recorded.host} --repository team/app --id {ID}' to check the status.", "Running..."]
    asked = [(method, target, body) for method, target, body in recorded.seen
             if target != "/v2/"]
    look = ("GET", f"/acr/v1/team/app/_operations/{ID}", "")
    assert [each[:2] for each in asked[:4]] == [
        ("GET", "/acr/v1/team/app/_tags/v1"),
        ("GET", f"/v2/team/app/referrers/{DIGEST}?artifactType="
                "application%2Fvnd.azure.artifact.streaming.v1"),
        ("GET", f"/acr/v1/team/app/_streaming/{DIGEST}"),
        ("POST", f"/acr/v1/team/app/_streaming/{DIGEST}")]
    assert json.loads(asked[3][2]) == CONVERSION
    assert asked[4:] == [look] * 4


def test_create_skips_what_is_there(run, recorded):
    recorded.referrers[DIGEST] = [ENTRY]
    done = run(*CREATE)

    assert done.stdout == ""
    assert done.stderr == ("The streaming artifact for image 'team/app:v1' already exists. "
                           "Skipping request.\n")
    assert recorded.requests("POST") == []


def test_create_joins_what_goes_on_but_not_what_has_ended(run, recorded):
    recorded.operations[ID] = Operation(DIGEST, [("Running", "50%"), ("Succeeded", "100%")])
    recorded.last[DIGEST] = ID
    assert json.loads(run(*CREATE).stdout) == {"id": ID, "status": "Succeeded"}
    assert recorded.requests("POST") == []

    recorded.operations[ID] = Operation(DIGEST, [("Canceled", "0%")])
    recorded.next_operation = ("second", Operation(DIGEST, [("Succeeded", "100%")]))
    assert json.loads(run(*CREATE).stdout) == {"id": "second", "status": "Succeeded"}
    assert len(recorded.requests("POST")) == 1


def test_a_failed_or_canceled_conversion_is_a_failed_command_that_says_why(run, recorded):
    recorded.next_operation = (ID, Operation(
        DIGEST, [("Running", "3%"), ("Failed", "3%")],
        details="IMAGE_NOT_RUNNABLE: Conversion isn't supported for nonrunnable images."))
    done = run(*CREATE, code=1)
    assert json.loads(done.stdout) == {"id": ID, "status": "Failed"}
    assert ("the conversion of 'team/app:v1' ended Failed: IMAGE_NOT_RUNNABLE: Conversion isn't "
            "supported for nonrunnable images.") in done.stderr

    recorded.next_operation = ("other", Operation(DIGEST, [("Canceled", "0%")]))
    assert "was canceled" in run(*CREATE, code=1).stderr


def test_create_without_waiting_only_begins(run, recorded):
    recorded.next_operation = (ID, Operation(DIGEST, [("NotStarted", "0%")]))
    assert json.loads(run(*CREATE, "--no-wait").stdout) == {"id": ID, "status": "NotStarted"}
    assert not any("_operations" in target for target in recorded.requests("GET"))


def test_create_prints_an_answer_that_is_no_operation_as_it_is(run, recorded):
    recorded.post_status = 200
    assert json.loads(run(*CREATE).stdout) == {"said": "as it is"}
    recorded.post_status = 403
    assert "403 Forbidden" in run(*CREATE, code=1).stderr


def test_create_of_an_unknown_image_says_so(run):
    said = run("create", "--image", "team/app:v9", code=1).stderr
    assert "Could not find image 'team/app:v9'. " in said
    assert "the specified tag does not exist" in said and CORRELATION in said


def test_a_whole_repository_is_converted(run, recorded):
    recorded.operations = {"a": Operation(DIGEST, [("Succeeded", "100%")]),
                           "b": Operation(OTHER, [("Failed", "0%")], details="UNKNOWN_ERROR: no")}
    done = run("create", "--all", "--repository", "team/app", "--poll-interval", "0.05", code=1)

    assert [each["status"] for each in json.loads(done.stdout)["operations"]] == [
        "Succeeded", "Failed"]
    assert f"team/app@{OTHER} ended Failed: UNKNOWN_ERROR: no" in done.stderr
    del recorded.operations["b"]
    assert json.loads(run("create", "--all", "--repository", "team/app").stdout)["skipped"] == 1
    assert "Usage error" in run("create", "--all", code=2).stderr
    assert "Usage error" in run("create", code=2).stderr


def test_the_switch_is_shown_and_set_with_the_recorded_body(run, recorded):
    assert json.loads(run("show", "--repository", "team/app").stdout) == {
        "convertPushedImages": False}
    answer = json.loads(run("update", "--repository", "team/app", "--enable-streaming",
                            "True").stdout)
    assert json.loads(recorded.seen[-1][2]) == {"convertPushedImages": True, **CONVERSION}
    assert answer["convertPushedImages"] is True and answer["status"] == "Succeeded"
    run("update", "--repository", "team/app", "--enable-streaming", "false")
    assert json.loads(recorded.seen[-1][2])["convertPushedImages"] is False
    run("update", "--repository", "team/app", "--hold-tag", "30")
    assert json.loads(recorded.seen[-1][2]) == {"holdTag": 30, **CONVERSION}
    run("update", "--repository", "team/app", "--enable-streaming", "perhaps", code=2)
    assert "nothing to change" in run("update", "--repository", "team/app", code=2).stderr


def test_artifacts_are_deleted_after_a_yes(run, recorded):
    recorded.referrers[DIGEST] = [ENTRY]
    assert "use --yes" in run("delete", "--image", "team/app:v1", code=1).stderr
    assert recorded.requests("DELETE") == []
    assert json.loads(run("delete", "--image", "team/app:v1", "-y").stdout) == {
        "deleted": [OTHER]}


def test_operations_are_shown_canceled_and_listed(run, recorded):
    recorded.operations[ID] = Operation(DIGEST, [("Running", "8%")])
    recorded.last[DIGEST] = ID
    by_id = ("--repository", "team/app", "--id", ID)
    by_image = ("--image", "team/app:v1")

    shown = json.loads(run("operation", "show", *by_id).stdout)
    assert shown["details"] == f"Conversion ongoing for resource team/app@{DIGEST}"
    assert json.loads(run("operation", "show", *by_image).stdout) == shown
    assert json.loads(run("operation", "list", "--status", "Failed").stdout) == []
    assert run("operation", "list", "--query", "[].id", "-o", "tsv").stdout == ID + "\n"
    canceled = json.loads(run("operation", "cancel", *by_image).stdout)
    assert canceled["name"] == "Cancel: ArtifactStreamingConversion"
    assert canceled["status"] == "Canceled"
    again = run("operation", "cancel", *by_image, code=1).stderr
    assert (f"The image 'team/app:v1' does not have any ongoing operation. Operation ID: {ID}"
            in again)


def test_operations_that_are_not_there(run, recorded):
    said = run("operation", "show", "--repository", "team/app", "--id", "none", code=1).stderr
    assert "The specified operation does not exist" in said
    assert "No operation found for image 'team/app:v1'" in run(
        "operation", "show", "--image", "team/app:v1", code=1).stderr
    usage = ("Usage error: You need to provide either --repository MyRepo --id MyId | --image "
             "MyImage")
    for flags in ((), ("--id", ID), ("--repository", "team/app"),
                  ("--image", "team/app:v1", "--repository", "team/app", "--id", ID)):
        assert usage in run("operation", "show", *flags, code=2).stderr, flags
