// Pushing blobs, over HTTP.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <filesystem>
#include <thread>

#include "support/raw_socket.h"
#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

using net::Header;

class Push : public test::RegistryOverStores {
 protected:
  // The blob's bytes, or the status when there are none.
  std::string pull(const std::string& repository, std::string_view text) {
    const auto answer = get("/v2/" + repository + "/blobs/" + digest_of(text));
    return answer.status == 200 ? answer.body : std::to_string(answer.status);
  }
};

class PushOnDisk : public test::RegistryFixture {
 protected:
  std::string file_of_upload(const std::string& location) const {
    const auto id = location.substr(location.rfind('/') + 1);
    return fmt::format("{}/content/uploads/{}", config_.data, id);
  }
  // The upload's file, locked as by a request that writes to it.
  UniqueFd held_upload(const std::string& location) {
    const auto path = file_of_upload(location);
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(::flock(file.get(), LOCK_EX | LOCK_NB), 0) << path;
    return file;
  }

  // The status of a PATCH that brings "def" and has announced more.
  std::string patch_too_little(const std::string& location, const std::string& range) {
    test::RawSocket socket(registry_->port());
    EXPECT_TRUE(socket.send("PATCH " + location + " HTTP/1.1\r\nHost: x\r\nContent-Range: " +
                            range + "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"));
    return socket.read_response().substr(0, std::string_view("HTTP/1.1 400").size());
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Push, test::all_stores(), test::name_of_stores);

TEST_P(Push, InOnePut) {
  const auto begun = send("POST", "/v2/a/b/blobs/uploads/");
  EXPECT_EQ(begun.status, 202);
  EXPECT_TRUE(begun.header("Location").starts_with("/v2/a/b/blobs/uploads/"));
  EXPECT_EQ(begun.header("Range"), "0-0");
  EXPECT_EQ(begun.header("Docker-Upload-UUID").size(), 32u);

  const auto done =
      send("PUT", begun.header("Location") + "?digest=" + digest_of("the bytes"), "the bytes");

  EXPECT_EQ(done.status, 201);
  EXPECT_EQ(done.header("Location"), "/v2/a/b/blobs/" + digest_of("the bytes"));
  EXPECT_EQ(done.header("Docker-Content-Digest"), digest_of("the bytes"));
  EXPECT_EQ(pull("a/b", "the bytes"), "the bytes");
  EXPECT_EQ(get(begun.header("Location")).status, 404);
}

TEST_P(Push, InOnePost) {
  const auto done = send("POST", "/v2/a/blobs/uploads/?digest=" + digest_of("x"), "x");
  EXPECT_EQ(done.status, 201);
  EXPECT_EQ(done.header("Location"), "/v2/a/blobs/" + digest_of("x"));
  EXPECT_EQ(pull("a", "x"), "x");

  EXPECT_EQ(send("POST", "/v2/a/blobs/uploads/?digest=" + digest_of("")).status, 201);
  EXPECT_EQ(pull("a", ""), "");
}

TEST_P(Push, OfALargeBlob) {
  std::string large(5'000'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 + i / 1000);

  push_blob("a", large);

  EXPECT_EQ(pull("a", large), large);
}

TEST_P(Push, AsAStream) {
  const auto location = begin("a");

  const auto first = send("PATCH", location, "abc");
  const auto second = send("PATCH", first.header("Location"), "def");
  const auto done = send("PUT", second.header("Location") + "?digest=" + digest_of("abcdef"));

  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(first.header("Range"), "0-2");
  EXPECT_EQ(second.header("Range"), "0-5");
  EXPECT_EQ(done.status, 201);
  EXPECT_EQ(pull("a", "abcdef"), "abcdef");
}

TEST_P(Push, InChunksAndThePutBringsTheLast) {
  const auto location = begin("a");

  EXPECT_EQ(send("PATCH", location, "abc", {Header("Content-Range", "0-2")}).status, 202);
  EXPECT_EQ(send("PATCH", location, "def", {Header("Content-Range", "3-5")}).status, 202);
  const auto done = send("PUT", location + "?digest=" + digest_of("abcdefg"), "g",
                         {Header("Content-Range", "6-6")});

  EXPECT_EQ(done.status, 201);
  EXPECT_EQ(pull("a", "abcdefg"), "abcdefg");
}

TEST_P(Push, RefusesAChunkOutOfOrderAndAppendsNothing) {
  const auto location = begin("a");
  EXPECT_EQ(send("PATCH", location, "b", {Header("Content-Range", "1-1")}).status, 416);
  ASSERT_EQ(send("PATCH", location, "abc", {Header("Content-Range", "0-2")}).status, 202);

  const auto gap = send("PATCH", location, "x", {Header("Content-Range", "4-4")});
  const auto again = send("PATCH", location, "abc", {Header("Content-Range", "0-2")});
  const auto last =
      send("PUT", location + "?digest=" + digest_of("abcx"), "x", {Header("Content-Range", "2-2")});

  for (const auto& refused : {gap, again, last}) {
    EXPECT_EQ(refused.status, 416);
    EXPECT_EQ(refused.header("Location"), location);
    EXPECT_EQ(refused.header("Range"), "0-2");
    EXPECT_NE(refused.body.find("BLOB_UPLOAD_INVALID"), std::string::npos);
  }
  const auto status = get(location);
  EXPECT_EQ(status.status, 204);
  EXPECT_EQ(status.header("Range"), "0-2");
  EXPECT_EQ(send("PUT", location + "?digest=" + digest_of("abc")).status, 201);
}

TEST_P(Push, RefusesAChunkOfAnotherLengthThanItAnnounces) {
  const auto location = begin("a");

  EXPECT_EQ(send("PATCH", location, "abc", {Header("Content-Range", "0-3")}).status, 400);
  EXPECT_EQ(send("PATCH", location, "abc", {Header("Content-Range", "what")}).status, 400);

  EXPECT_EQ(get(location).header("Range"), "0-0");
}

TEST_P(Push, GoesOnAfterARestart) {
  const auto location = begin("a");
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);

  restart();

  EXPECT_EQ(get(location).header("Range"), "0-2");
  EXPECT_EQ(send("PATCH", location, "def", {Header("Content-Range", "3-5")}).status, 202);
  EXPECT_EQ(send("PUT", location + "?digest=" + digest_of("abcdef")).status, 201);
  EXPECT_EQ(pull("a", "abcdef"), "abcdef");
}

TEST_P(Push, GoesOnInAnotherRegistryOnTheSameData) {
  const auto location = begin("a");
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);
  auto first = std::move(registry_);

  start();

  EXPECT_EQ(send("PATCH", location, "def").header("Range"), "0-5");
  std::swap(first, registry_);
  EXPECT_EQ(send("PUT", location + "?digest=" + digest_of("abcdefghi"), "ghi").status, 201);
  EXPECT_EQ(pull("a", "abcdefghi"), "abcdefghi");
}

TEST_P(Push, KeepsWhatCameBeforeTheConnectionBroke) {
  const auto location = begin("a");
  send_and_close("PATCH " + location +
                 " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nthe first part");

  // The registry learns of the break when it reads; until then the upload is being written.
  std::string range = "0-0";
  for (int i = 0; i < 5000 && range == "0-0"; ++i) range = get(location).header("Range");

  EXPECT_EQ(range, "0-13");
  const auto done = send("PUT", location + "?digest=" + digest_of("the first part, the second"),
                         ", the second", {Header("Content-Range", "14-25")});
  EXPECT_EQ(done.status, 201);
}

TEST_F(PushOnDisk, GivesTheSpaceOfAPatchThatIsRefusedBack) {
  const auto location = begin("a");

  EXPECT_EQ(patch_too_little(location, "0-9"), "HTTP/1.1 400");
  EXPECT_FALSE(std::filesystem::exists(file_of_upload(location)));
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);
  EXPECT_EQ(patch_too_little(location, "3-9"), "HTTP/1.1 400");
  EXPECT_EQ(std::filesystem::file_size(file_of_upload(location)), 3u);

  const auto done = send("PUT", location + "?digest=" + digest_of("abcxyz"), "xyz");
  EXPECT_EQ(done.status, 201) << done.body;
}

TEST_F(PushOnDisk, WaitsForTheRequestThatStillWritesToItsUploadAndNotForEver) {
  const auto location = begin("a");
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);
  auto held = held_upload(location);

  const auto refused = send("PATCH", location, "def");
  std::jthread lets_go([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.reset();
  });
  const auto done = send("PUT", location + "?digest=" + digest_of("abcdef"), "def");

  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.body.find("another request is writing"), std::string::npos);
  EXPECT_EQ(done.status, 201) << done.body;
}

TEST_P(Push, IsRefusedWhenTheDigestIsWrong) {
  for (const auto* digest : {"sha256:baddigeststring", "sha256:", "md5:00", "x", ""}) {
    EXPECT_EQ(send("PUT", begin("a") + "?digest=" + digest, "x").status, 400) << digest;
    EXPECT_EQ(send("POST", std::string("/v2/a/blobs/uploads/?digest=") + digest, "x").status, 400);
  }
  const auto put = send("PUT", begin("a") + "?digest=" + digest_of("y"), "x");
  const auto post = send("POST", "/v2/a/blobs/uploads/?digest=" + digest_of("y"), "x");
  EXPECT_EQ(put.status, 400);
  EXPECT_NE(put.body.find("DIGEST_INVALID"), std::string::npos);
  EXPECT_EQ(post.status, 400);
  EXPECT_EQ(send("PUT", begin("a"), "x").status, 400);

  EXPECT_EQ(pull("a", "x"), "404");
  EXPECT_EQ(pull("a", "y"), "404");
}

TEST_P(Push, OfSha512TooEvenAfterAPatch) {
  const auto digest = oci::Digest::of(as_bytes("abcdef"), oci::Algorithm::kSha512).to_string();
  const auto location = begin("a");
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);

  const auto done = send("PUT", location + "?digest=" + digest, "def");

  EXPECT_EQ(done.status, 201);
  EXPECT_EQ(get("/v2/a/blobs/" + digest).body, "abcdef");
}

TEST_P(Push, CanBeCancelled) {
  const auto location = begin("a");
  ASSERT_EQ(send("PATCH", location, "abc").status, 202);

  EXPECT_EQ(send("DELETE", location).status, 204);

  EXPECT_EQ(get(location).status, 404);
  EXPECT_EQ(send("PATCH", location, "def").status, 404);
  const auto put = send("PUT", location + "?digest=" + digest_of("abc"));
  EXPECT_EQ(put.status, 404);
  EXPECT_NE(put.body.find("BLOB_UPLOAD_UNKNOWN"), std::string::npos);
  EXPECT_EQ(send("DELETE", location).status, 404);
}

TEST_P(Push, CannotBeFinishedThroughAnotherRepository) {
  const auto location = begin("a");
  const auto stolen = "/v2/b" + location.substr(5);

  EXPECT_EQ(get(stolen).status, 404);
  EXPECT_EQ(send("PATCH", stolen, "x").status, 404);
  EXPECT_EQ(send("PUT", stolen + "?digest=" + digest_of("x"), "x").status, 404);
  EXPECT_EQ(send("DELETE", stolen).status, 404);
  EXPECT_EQ(get(location).status, 204);
}

TEST_P(Push, MountsABlobOfAnotherRepository) {
  push_blob("source", "x");

  const auto mounted =
      send("POST", "/v2/target/blobs/uploads/?mount=" + digest_of("x") + "&from=source");

  EXPECT_EQ(mounted.status, 201);
  EXPECT_EQ(mounted.header("Location"), "/v2/target/blobs/" + digest_of("x"));
  EXPECT_EQ(mounted.header("Docker-Content-Digest"), digest_of("x"));
  EXPECT_EQ(pull("target", "x"), "x");
}

TEST_P(Push, MountsABlobWithoutASource) {
  push_blob("source", "x");

  EXPECT_EQ(send("POST", "/v2/target/blobs/uploads/?mount=" + digest_of("x")).status, 201);
  EXPECT_EQ(pull("target", "x"), "x");
}

TEST_P(Push, GivesAnUploadWhenThereIsNothingToMount) {
  push_blob("source", "x");

  for (const std::string& query :
       {"mount=" + digest_of("y") + "&from=source", "mount=" + digest_of("x") + "&from=elsewhere",
        "mount=" + digest_of("y"), std::string("mount=sha256:bad&from=source")}) {
    const auto begun = send("POST", "/v2/target/blobs/uploads/?" + query);
    EXPECT_EQ(begun.status, 202) << query;
    EXPECT_EQ(send("PUT", begun.header("Location") + "?digest=" + digest_of("z"), "z").status, 201);
  }
  EXPECT_EQ(pull("target", "x"), "404");
}

TEST_P(Push, ToARepositoryWithABadNameIsRefused) {
  for (const auto* name : {"A", "a..b", "-a", "a/../b"}) {
    const auto answer = send("POST", std::string("/v2/") + name + "/blobs/uploads/");
    EXPECT_TRUE(answer.status == 400 || answer.status == 404) << name;
  }
  EXPECT_NE(send("POST", "/v2/A/blobs/uploads/").body.find("NAME_INVALID"), std::string::npos);
}

TEST_F(PushOnDisk, OfAManifestIsRefusedWhenTheStoreHasLostABlobOfIt) {
  const auto bytes = push_image("a", "v1", {"layer"});
  ASSERT_TRUE(std::filesystem::remove(file_of(oci::Digest::of(as_bytes("layer")))));

  const auto answer = put_manifest("a", "v2", bytes, std::string(oci::kOciManifest));

  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("MANIFEST_BLOB_UNKNOWN"), std::string::npos);
  EXPECT_NE(answer.body.find(oci::Digest::of(as_bytes("layer")).to_string()), std::string::npos);
  push_blob("a", "layer");
  EXPECT_EQ(put_manifest("a", "v2", bytes, std::string(oci::kOciManifest)).status, 201);
}

TEST_F(PushOnDisk, MountsNoBlobThatWasCutShort) {
  const auto digest = push_blob("a", "abc");
  std::filesystem::resize_file(file_of(digest), 2);

  const auto uploads = "/v2/b/blobs/uploads/?mount=" + digest.to_string();
  EXPECT_EQ(send("POST", uploads + "&from=a").status, 202);
  EXPECT_EQ(send("POST", uploads).status, 202);

  EXPECT_EQ(push_blob("b", "abc"), digest);
  EXPECT_EQ(get("/v2/a/blobs/" + digest.to_string()).body, "abc");
}

TEST_F(PushOnDisk, RepairsABlobThatTheStoreHasLost) {
  const auto digest = push_blob("a", "x");
  std::filesystem::resize_file(file_of(digest), 0);
  EXPECT_EQ(send("HEAD", "/v2/a/blobs/" + digest.to_string()).status, 404);

  push_blob("a", "x");

  EXPECT_EQ(get("/v2/a/blobs/" + digest.to_string()).body, "x");
}

}  // namespace
}  // namespace runnel::registry
