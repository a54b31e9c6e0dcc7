#include "registry/cut_short.h"

#include <gtest/gtest.h>

#include "blob/directory_store.h"
#include "meta/sqlite_store.h"
#include "registry/image_conversion.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

class CutShortTest : public testing::Test {
 protected:
  std::string begin_upload() { return uploads_.start("team/app", kConverter).value().id; }
  bool is_there(const std::string& id) {
    return uploads_.find("team/app", kConverter, id).value().has_value();
  }
  Result<UniqueFd> start() { return clear_what_was_cut_short(directory_.path(), uploads_); }

  test::TempDir directory_;
  test::FakeClock clock_;
  std::unique_ptr<blob::DirectoryStore> blobs_ =
      blob::DirectoryStore::open(directory_.path() + "/content").value();
  std::unique_ptr<meta::SqliteStore> metadata_ =
      meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value();
  Uploads uploads_{*blobs_, *metadata_, clock_, std::chrono::hours(1)};
};

TEST_F(CutShortTest, WhoStartsAloneThrowsAwayWhatTheLastOneLeft) {
  const auto left = begin_upload();

  const auto started = start();

  ASSERT_TRUE(started);
  EXPECT_FALSE(is_there(left));
}

TEST_F(CutShortTest, WhoStartsBesideAnotherLeavesAllAsItIs) {
  auto first = start();
  ASSERT_TRUE(first);
  const auto of_the_first = begin_upload();

  const auto second = start();
  ASSERT_TRUE(second);
  EXPECT_TRUE(is_there(of_the_first));
  first->reset();
  EXPECT_TRUE(start()) << "the second one is still there";
  EXPECT_TRUE(is_there(of_the_first));
}

TEST_F(CutShortTest, AWorkDirectoryThatIsNotThereIsAnError) {
  EXPECT_EQ(clear_what_was_cut_short(directory_.path() + "/none", uploads_).error().code,
            Code::kNotFound);
}

}  // namespace
}  // namespace runnel::registry
