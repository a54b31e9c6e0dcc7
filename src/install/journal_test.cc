#include "install/journal.h"

#include <gtest/gtest.h>

namespace runnel::install {
namespace {

const std::string kHash(64, 'a');

Journal journal_of(ChangedFile file) {
  return {.committed = true, .files = {std::move(file)}};
}

ChangedFile changed() {
  return {.path = "/etc/a/hosts.toml",
          .before_hash = kHash,
          .after_hash = std::string(64, 'b'),
          .owner = {.mode = 0640, .uid = 1, .gid = 4294967295},
          .after = {},
          .directories = {"/etc/a"}};
}

std::string refusal(const ChangedFile& file) {
  const auto parsed = parse_journal(as_bytes(to_json(journal_of(file))));
  return parsed ? "" : parsed.error().message;
}

TEST(InstallJournal, ReadsWhatItWrote) {
  auto made = changed();
  made.path = "/etc/b";
  made.before_hash.clear();
  made.directories.clear();
  const auto text = to_json({.committed = false, .files = {changed(), made}});

  const auto parsed = parse_journal(as_bytes(text));

  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(to_json(*parsed), text);
  EXPECT_TRUE(parsed->files[0].existed());
  EXPECT_FALSE(parsed->files[1].existed());
}

TEST(InstallJournal, DoesNotTakeAFileThatWasThereForOneThatWasNot) {
  std::string text = to_json(journal_of(changed()));
  text.replace(text.find(kHash), kHash.size(), "");

  const auto parsed = parse_journal(as_bytes(text));

  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Code::kInvalid);
  EXPECT_EQ(parsed.error().message, "\"before_sha256\" is no SHA-256");
}

TEST(InstallJournal, NamesNoDirectoryThatIsNotTheFiles) {
  for (const auto* directory : {"/home", "/etc/a/hosts.toml", "etc", "/etc/a/", ""}) {
    auto file = changed();
    file.directories = {directory};
    EXPECT_TRUE(refusal(file).contains("is no directory above")) << directory;
  }
}

TEST(InstallJournal, NamesAbsolutePathsAndModesThatThereAre) {
  auto relative = changed();
  relative.path = "etc/a";
  EXPECT_EQ(refusal(relative), "\"etc/a\" is no absolute path");
  auto mode = changed();
  mode.owner.mode = 010000;
  EXPECT_EQ(refusal(mode), "10000 is no mode");
}

TEST(InstallJournal, OfALaterVersionIsLeftToALaterProgram) {
  const auto parsed = parse_journal(as_bytes(R"({"version": 2})"));

  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace runnel::install
