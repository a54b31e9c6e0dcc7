// A disk that becomes full at every write and every sync of a push.
#include <gtest/gtest.h>

#include "base/durable.h"
#include "blob/directory_store.h"
#include "meta/sqlite_store.h"
#include "registry/fsck.h"
#include "registry/uploads.h"
#include "support/failing_disk.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

using test::FailingDisk;

constexpr auto kLifetime = std::chrono::hours(1);

oci::Digest digest(std::string_view text) {
  return oci::Digest::of(as_bytes(text));
}

class FullDiskTest : public testing::TestWithParam<FailingDisk::At> {
 protected:
  FullDiskTest() { EXPECT_TRUE(push("old")); }

  // A blob in two requests, and a manifest that needs it.
  Result<void> push(std::string_view text) {
    RUNNEL_TRY(const auto upload, uploads_.start("a", ""));
    {
      RUNNEL_TRY(const auto first, uploads_.receive("a", "", upload.id, oci::Algorithm::kSha256));
      RUNNEL_DO(first->append(as_bytes(text.substr(0, 1))));
      RUNNEL_DO(first->keep());
    }
    RUNNEL_TRY(const auto second, uploads_.receive("a", "", upload.id, oci::Algorithm::kSha256));
    RUNNEL_DO(second->append(as_bytes(text.substr(1))));
    RUNNEL_DO(second->finish(digest(text)));
    meta::NewManifest made;
    made.digest = digest("manifest of " + std::string(text));
    made.media_type = "application/x";
    const auto bytes = "manifest of " + std::string(text);
    made.bytes = as_bytes(bytes);
    made.descriptor.digest = made.digest;
    made.blobs = {digest(text)};
    made.tags = {"v"};
    RUNNEL_TRY(const auto outcome, metadata_->put_manifest("a", made));
    EXPECT_TRUE(outcome.missing.empty());
    return {};
  }

  std::string tagged() {
    const auto found = metadata_->manifest("a", "v").value();
    return found ? found->bytes : "absent";
  }

  // Nothing damaged, and nothing left that nobody knows of.
  void expect_whole() {
    clock_.advance(2 * kLifetime);
    EXPECT_TRUE(uploads_.clean());
    const auto checked = fsck(*blobs_, *metadata_, false).value();
    for (const auto& each : checked.findings) ADD_FAILURE() << each.what;
    EXPECT_TRUE(blobs_->uploads()->empty());
  }

  const test::TempDir directory_;
  test::FakeClock clock_;
  const std::unique_ptr<blob::DirectoryStore> blobs_ =
      blob::DirectoryStore::open(directory_.path() + "/content").value();
  const std::unique_ptr<meta::SqliteStore> metadata_ =
      meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  Uploads uploads_{*blobs_, *metadata_, clock_, kLifetime};
};

TEST_P(FullDiskTest, FailsAPushAndLosesNothing) {
  constexpr size_t kMost = 200;  // calls of one push
  std::string last = "old";
  size_t good = 0;
  for (; good < kMost; ++good) {
    const auto text = "new " + std::to_string(good);
    Result<void> pushed;
    size_t failed = 0;
    {
      const FailingDisk full(GetParam(), good);
      pushed = push(text);
      failed = full.failed();
    }
    if (pushed && failed == 0) break;
    if (pushed) last = text;  // what failed was not needed for what was promised
    EXPECT_EQ(tagged(), "manifest of " + last) << good;
    expect_whole();
    if (HasFailure()) return;
  }
  EXPECT_GT(good, 5u) << "so many calls a push takes at least";
  EXPECT_LT(good, kMost);
  EXPECT_TRUE(push("there is room again"));
  EXPECT_EQ(tagged(), "manifest of there is room again");
  expect_whole();
}

INSTANTIATE_TEST_SUITE_P(At, FullDiskTest,
                         testing::Values(FailingDisk::At::kWrite, FailingDisk::At::kSync),
                         [](const auto& info) {
                           return info.param == FailingDisk::At::kWrite ? "Write" : "Sync";
                         });

}  // namespace
}  // namespace runnel::registry
