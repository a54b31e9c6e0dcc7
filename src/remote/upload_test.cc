// Pushing and mounting blobs.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/repository_fixture.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

TEST_F(RemoteRepository, PushesABlobOnce) {
  const std::string bytes = pattern(100'000);
  const auto digest = oci::Digest::of(as_bytes(bytes));
  for (const bool absolute : {false, true}) {
    registry_.set({.absolute_locations = absolute});
    registry_.remove_blob(digest);
    registry_.forget_seen();

    EXPECT_EQ(repository().push_blob(digest, as_bytes(bytes)), true);
    EXPECT_EQ(registry_.blob(digest), bytes);
    EXPECT_EQ(repository().push_blob(digest, as_bytes(bytes)), false);
    EXPECT_EQ(registry_.count("PUT "), 1u);
  }
}

TEST_F(RemoteRepository, PushesAPartOfAFile) {
  const test::TempDir directory;
  const std::string path = directory.path() + "/file";
  const std::string bytes = pattern(3'000'000);
  ASSERT_TRUE(replace_file(path, as_bytes(bytes)));
  auto file = std::make_shared<UniqueFd>(*open_file(path, O_RDONLY));
  const std::string part = bytes.substr(1000, 2'500'000);
  const auto digest = oci::Digest::of(as_bytes(part));

  auto pushed = repository().push_blob(digest, net::FileRange(file, 1000, part.size()));

  ASSERT_TRUE(pushed) << pushed.error().message;
  EXPECT_TRUE(registry_.blob(digest) == part);
}

TEST_F(RemoteRepository, PushesAnEmptyBlob) {
  EXPECT_EQ(repository().push_blob(oci::Digest::of({}), Bytes()), true);
  EXPECT_EQ(registry_.blob(oci::Digest::of({})), "");
}

TEST_F(RemoteRepository, APushWhoseAnswerWasLostIsNotRepeated) {
  const auto digest = oci::Digest::of(as_bytes("hello"));
  registry_.inject("PUT ", {.drop_answer = true});

  EXPECT_EQ(repository().push_blob(digest, as_bytes("hello")), true);
  EXPECT_EQ(registry_.count("PUT "), 1u);
  EXPECT_EQ(registry_.blob(digest), "hello");
}

TEST_F(RemoteRepository, APushWhoseSessionWasLostStartsOver) {
  const auto digest = oci::Digest::of(as_bytes("hello"));
  registry_.inject("PUT ", {.status = 404});
  registry_.inject("PUT ", {.status = 500});

  EXPECT_EQ(repository().push_blob(digest, as_bytes("hello")), true);
  EXPECT_EQ(registry_.count("POST "), 3u);
  EXPECT_EQ(registry_.blob(digest), "hello");
}

TEST_F(RemoteRepository, APushWithTheWrongDigestIsRefusedAtOnce) {
  auto pushed = repository().push_blob(oci::Digest::of(as_bytes("a")), as_bytes("b"));

  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, Code::kInvalid);
  EXPECT_NE(pushed.error().message.find("DIGEST_INVALID"), std::string::npos);
  EXPECT_EQ(registry_.count("PUT "), 1u);
}

TEST_F(RemoteRepository, UploadsDoNotGoWhereARegistryMustNotPoint) {
  Hosts hosts;
  hosts.set(registry_.host(), {.plain_http = true});
  registry_.inject("POST ", {.status = 202, .headers = {{"Location", "ftp://x/"}}});
  registry_.inject("POST ", {.status = 202});
  const auto digest = oci::Digest::of(as_bytes("a"));

  EXPECT_EQ(repository().push_blob(digest, as_bytes("a")).error().code, Code::kInvalid);
  EXPECT_EQ(repository().push_blob(digest, as_bytes("a")).error().code, Code::kInvalid);
  EXPECT_EQ(registry_.count("PUT "), 0u);
}

TEST_F(RemoteRepository, TellsWhetherBlobsMayBePushedAndLeavesNoSessionBehind) {
  const auto allowed = repository().check_push();
  EXPECT_TRUE(allowed) << allowed.error().message;
  EXPECT_EQ(registry_.count("DELETE "), 1u);

  registry_.inject("POST ", {.status = 403});
  const auto denied = repository().check_push();
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error(),
            Error(Code::kDenied, registry_.host() + "/team/app: upload of a blob: POST answered "
                                                    "403 Forbidden"));
  EXPECT_EQ(registry_.count("DELETE "), 1u);
}

TEST_F(RemoteRepository, MountsABlobOrLeavesNoSessionBehind) {
  const auto digest = registry_.add_blob("hello");

  EXPECT_EQ(repository().mount_blob(digest, "other/app"), true);
  registry_.set({.mounts = false});
  EXPECT_EQ(repository().mount_blob(digest, "other/app"), false);
  EXPECT_EQ(registry_.count("DELETE "), 1u);
}

}  // namespace
}  // namespace runnel::remote
