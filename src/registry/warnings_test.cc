#include "registry/warnings.h"

#include <gtest/gtest.h>

#include <numeric>

namespace runnel::registry {
namespace {

Route manifest_of(std::string_view repository) {
  return {.kind = Route::Kind::kManifest, .repository = std::string(repository), .target = "v1"};
}

// As they go over the wire.
std::vector<std::string> lines(const Notices& notices, const Route& route) {
  net::Headers headers;
  add_warnings(headers, notices, Caller::anyone(), route);
  std::vector<std::string> made;
  for (const auto& line : headers) made.push_back(line.name + ": " + line.value + "\r\n");
  return made;
}

size_t total(const std::vector<std::string>& lines) {
  return std::accumulate(lines.begin(), lines.end(), size_t{0},
                         [](size_t sum, const auto& line) { return sum + line.size(); });
}

TEST(Warnings, AreOfTheRepositoryAndOfManifestsOnly) {
  const Notices notices = {{"team/old/*", "moved to \"team/new\""}};
  EXPECT_EQ(lines(notices, manifest_of("team/old/app")),
            std::vector<std::string>{"Warning: 299 - \"moved to \\\"team/new\\\"\"\r\n"});
  EXPECT_TRUE(lines(notices, manifest_of("team/new/app")).empty());
  auto blob = manifest_of("team/old/app");
  blob.kind = Route::Kind::kBlob;
  EXPECT_TRUE(lines(notices, blob).empty());
  auto hidden = manifest_of("team/old/app");
  hidden.hidden = true;
  EXPECT_TRUE(lines(notices, hidden).empty());
}

TEST(Warnings, AreFourKibibytesInAllAtMost) {
  const size_t around = lines({{"*", "x"}}, manifest_of("a")).front().size() - 1;
  Notices notices;
  for (const auto* pattern : {"*", "a*", "a/*"}) notices[pattern] = std::string(1000, 'x');
  const auto fill = [&](size_t bytes) {
    notices["a/b*"] = std::string(bytes - 3 * (1000 + around) - around, 'y');
    return lines(notices, manifest_of("a/b"));
  };

  EXPECT_EQ(total(fill(4096)), 4096u);
  EXPECT_EQ(fill(4096).size(), 4u);
  EXPECT_EQ(fill(4097).size(), 3u);
}

TEST(Warnings, CountWhatEscapingAdds) {
  Notices notices;
  for (const auto* pattern : {"*", "a*", "a/*"}) notices[pattern] = std::string(1000, '"');
  const auto made = lines(notices, manifest_of("a/b"));
  EXPECT_EQ(made.size(), 2u);
  EXPECT_LE(total(made), 4096u);
}

}  // namespace
}  // namespace runnel::registry
