#include "install/transaction.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/fd.h"
#include "install/rollback.h"
#include "support/temp_dir.h"

namespace runnel::install {

namespace {

std::string read(const std::string& path) {
  const auto bytes = read_file(path, 1 << 20);
  return bytes ? std::string(as_text(*bytes)) : "(none)";
}

bool exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

class InstallTransaction : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(replace_file(old_, as_bytes("before"), 0640));
    ASSERT_EQ(::chown(old_.c_str(), ::getuid(), ::getgid()), 0);
  }

  std::vector<FileChange> changes() const {
    return {{.path = old_, .before = "before", .after = "after"},
            {.path = new_, .before = {}, .after = "new"}};
  }

  const test::TempDir directory_;
  const std::string old_ = directory_.path() + "/old";
  const std::string new_ = directory_.path() + "/a/b/new";
};

}  // namespace

TEST_F(InstallTransaction, RestoresEveryByteAndLeavesNothing) {
  auto transactions = *Transactions::open(directory_.path());
  auto made = *transactions.begin(changes());
  for (size_t i = 0; i < made.size(); ++i) ASSERT_TRUE(made.apply(i));
  ASSERT_TRUE(made.commit());
  ASSERT_EQ(read(old_), "after");
  ASSERT_EQ(read(new_), "new");
  struct stat info;
  ASSERT_EQ(::stat(old_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);

  const auto all = transactions.all();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1u);
  EXPECT_TRUE(all->front().committed());
  ASSERT_TRUE(roll_back(*all, false));

  EXPECT_EQ(read(old_), "before");
  EXPECT_FALSE(exists(directory_.path() + "/a"));
  transactions.remove_if_empty();
  EXPECT_FALSE(exists(directory_.path() + "/install"));
}

TEST_F(InstallTransaction, IsTakenBackByALaterProcessWhereverItStopped) {
  for (size_t applied = 0; applied <= 2; ++applied) {
    {
      auto transactions = *Transactions::open(directory_.path());
      const auto made = *transactions.begin(changes());
      for (size_t i = 0; i < applied; ++i) ASSERT_TRUE(made.apply(i));
    }
    auto transactions = *Transactions::open(directory_.path());
    const auto all = *transactions.all();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_FALSE(all[0].committed());

    ASSERT_TRUE(roll_back({&all[0], 1}, false)) << applied;

    EXPECT_EQ(read(old_), "before") << applied;
    EXPECT_FALSE(exists(directory_.path() + "/a")) << applied;
  }
}

TEST_F(InstallTransaction, TouchesNothingThatWasEditedSince) {
  auto transactions = *Transactions::open(directory_.path());
  const auto made = *transactions.begin(changes());
  for (size_t i = 0; i < made.size(); ++i) ASSERT_TRUE(made.apply(i));
  ASSERT_TRUE(replace_file(old_, as_bytes("edited")));

  const auto refused = roll_back({&made, 1}, false);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_NE(refused.error().message.find(old_), std::string::npos);
  EXPECT_EQ(read(new_), "new");
  ASSERT_TRUE(roll_back({&made, 1}, true));
  EXPECT_EQ(read(old_), "before");
  EXPECT_EQ(read(old_ + ".runnel-saved"), "edited");
}

TEST_F(InstallTransaction, FollowsALinkAndKeepsIt) {
  const auto link = directory_.path() + "/link";
  ASSERT_EQ(::symlink(old_.c_str(), link.c_str()), 0);
  auto transactions = *Transactions::open(directory_.path());
  const auto made = *transactions.begin({{.path = link, .before = "before", .after = "after"}});

  ASSERT_TRUE(made.apply(0));

  struct stat info;
  ASSERT_EQ(::lstat(link.c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
  EXPECT_EQ(read(old_), "after");
}

TEST_F(InstallTransaction, RefusesAFileThatChangedSinceThePlan) {
  ASSERT_TRUE(replace_file(old_, as_bytes("other")));
  auto transactions = *Transactions::open(directory_.path());

  const auto made = transactions.begin(changes());

  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kConflict);
  EXPECT_TRUE(transactions.all()->empty());
}

TEST_F(InstallTransaction, TakesTheNewestBackFirst) {
  auto transactions = *Transactions::open(directory_.path());
  ASSERT_TRUE(transactions.begin({{.path = old_, .before = "before", .after = "one"}})->apply(0));
  ASSERT_TRUE(transactions.begin({{.path = old_, .before = "one", .after = "two"}})->apply(0));

  const auto all = *transactions.all();
  ASSERT_EQ(all.size(), 2u);
  ASSERT_TRUE(roll_back({&all[1], 1}, false));
  EXPECT_EQ(read(old_), "one");
  ASSERT_TRUE(roll_back({&all[0], 1}, false));
  EXPECT_EQ(read(old_), "before");
}

TEST_F(InstallTransaction, IsForOneProcessAtATime) {
  const auto first = Transactions::open(directory_.path());

  const auto second = Transactions::open(directory_.path());

  ASSERT_TRUE(first);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
}

}  // namespace runnel::install
