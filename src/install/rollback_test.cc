#include "install/rollback.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::install {

namespace {

// A machine with one configuration file; tests install again and again.
class InstallRollback : public testing::Test {
 protected:
  void SetUp() override { edit(config_, "config"); }

  static void edit(const std::string& path, const std::string& text) {
    ASSERT_TRUE(replace_file(path, as_bytes(text)));
  }

  static std::string read(const std::string& path) {
    return read_if_there(path)->value_or("(none)");
  }

  // Writes these texts over what is there now.
  void install(const std::vector<std::pair<std::string, std::string>>& texts) const {
    std::vector<FileChange> changes;
    for (const auto& [path, text] : texts)
      changes.push_back({.path = path, .before = *read_if_there(path), .after = text});
    auto made = *transactions_.begin(changes);
    for (size_t i = 0; i < made.size(); ++i) ASSERT_TRUE(made.apply(i));
    ASSERT_TRUE(made.commit());
  }

  std::vector<Transaction> all() const { return *transactions_.all(); }

  const test::TempDir directory_;
  const std::string config_ = directory_.path() + "/config.toml";
  const std::string hosts_ = directory_.path() + "/certs.d/one/hosts.toml";
  const std::string other_ = directory_.path() + "/certs.d/two/hosts.toml";
  const Transactions transactions_ = *Transactions::open(directory_.path());
};

}  // namespace

TEST_F(InstallRollback, RestoresWhatWasThereBeforeTheFirstOfSeveralInstalls) {
  install({{config_, "config 1"}, {hosts_, "hosts 1"}});
  install({{other_, "other 2"}, {hosts_, "hosts 2"}});
  install({{config_, "config 3"}});

  ASSERT_TRUE(roll_back(all(), false));

  EXPECT_EQ(read(config_), "config");
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/certs.d"));
  EXPECT_TRUE(all().empty());
}

TEST_F(InstallRollback, RefusesAnEditOfAnyInstallsFileBeforeItTouchesOne) {
  install({{config_, "config 1"}, {hosts_, "hosts 1"}});
  install({{other_, "other 2"}});
  edit(config_, "config 1, edited");

  const auto checked = check_unedited(all());
  const auto refused = roll_back(all(), false);

  ASSERT_FALSE(checked);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kConflict);
  EXPECT_NE(refused.error().message.find(config_), std::string::npos);
  EXPECT_EQ(refused.error().message.find(hosts_), std::string::npos);
  EXPECT_EQ(read(other_), "other 2");
  EXPECT_EQ(read(hosts_), "hosts 1");
  EXPECT_EQ(all().size(), 2u);
}

TEST_F(InstallRollback, RefusesAnEditThatALaterInstallWroteOnTopOf) {
  install({{config_, "config 1"}});
  edit(config_, "config of the owner");
  install({{config_, "config of the owner, and install 2"}});

  ASSERT_FALSE(check_unedited(all()));
  ASSERT_TRUE(roll_back(all(), true));

  EXPECT_EQ(read(config_), "config");
  EXPECT_EQ(read(config_ + ".runnel-saved"), "config of the owner, and install 2");
}

TEST_F(InstallRollback, SavesTheNewestEditAlthoughThereIsAnOlderOne) {
  install({{hosts_, "hosts 1"}});
  edit(hosts_, "hosts without the mirror");
  install({{hosts_, "hosts 2"}});
  edit(hosts_, "the newest");

  ASSERT_TRUE(roll_back(all(), true));

  EXPECT_FALSE(std::filesystem::exists(hosts_));
  EXPECT_EQ(read(hosts_ + ".runnel-saved"), "the newest");
  EXPECT_FALSE(std::filesystem::exists(hosts_ + ".runnel-saved.1"));
}

TEST_F(InstallRollback, KeepsWhatAnEarlierUninstallSaved) {
  for (const char* mine : {"first edit", "second edit"}) {
    install({{config_, "installed"}});
    edit(config_, mine);
    std::string said;
    ASSERT_TRUE(roll_back(all(), true, [&](const std::string& line) { said += line + "\n"; }));
    EXPECT_NE(said.find(config_ + ".runnel-saved"), std::string::npos);
  }

  EXPECT_EQ(read(config_ + ".runnel-saved"), "first edit");
  EXPECT_EQ(read(config_ + ".runnel-saved.1"), "second edit");
}

TEST_F(InstallRollback, MissesNothingOfAFileThatIsAsAnEarlierInstallLeftIt) {
  for (const char* put_back : {"config", "config 1", "config 2"}) {
    install({{config_, "config 1"}});
    install({{config_, "config 2"}});
    edit(config_, put_back);

    ASSERT_TRUE(roll_back(all(), false)) << put_back;

    EXPECT_EQ(read(config_), "config");
  }
  install({{config_, "config 1"}});
  edit(config_, "config");
  install({{config_, "config 2"}});
  EXPECT_TRUE(check_unedited(all())) << "the second one started from what nobody had edited";
}

TEST_F(InstallRollback, PutsBackAFileThatSomebodyRemovedWhenForced) {
  install({{config_, "config 1"}, {hosts_, "hosts 1"}});
  std::filesystem::remove(config_);
  std::filesystem::remove(hosts_);

  const auto refused = roll_back(all(), false);

  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(config_), std::string::npos);
  EXPECT_EQ(refused.error().message.find(hosts_), std::string::npos) << "it was not there before";
  ASSERT_TRUE(roll_back(all(), true));
  EXPECT_EQ(read(config_), "config");
  EXPECT_FALSE(std::filesystem::exists(config_ + ".runnel-saved"));
}

TEST_F(InstallRollback, GoesOnWhereACrashEndedIt) {
  install({{config_, "config 1"}, {hosts_, "hosts 1"}});
  install({{config_, "config 2"}, {other_, "other 2"}});
  edit(other_, "mine");
  ASSERT_TRUE(save_beside(other_, "mine"));  // and one before it restores that file
  ASSERT_TRUE(all()[0].restore(1));
  ASSERT_TRUE(all()[0].restore(0));

  ASSERT_TRUE(roll_back(all(), true));

  EXPECT_EQ(read(config_), "config");
  EXPECT_EQ(read(other_ + ".runnel-saved"), "mine");
  EXPECT_FALSE(std::filesystem::exists(other_ + ".runnel-saved.1"));
  EXPECT_FALSE(std::filesystem::exists(hosts_));
}

}  // namespace runnel::install
