#include "cli/operation_wait.h"

#include <gtest/gtest.h>

#include <vector>

namespace runnel::cli {
namespace {

using std::chrono::seconds;

TEST(operation_wait, pauses_grow_while_nothing_changes_and_begin_anew_when_something_does) {
  Pauses pauses(seconds(5));
  EXPECT_EQ(pauses.after({"NotStarted", "0%", ""}), seconds(5));
  EXPECT_EQ(pauses.after({"NotStarted", "0%", ""}), seconds(6));
  EXPECT_EQ(pauses.after({"Running", "0%", ""}), seconds(5));
  EXPECT_EQ(pauses.after({"Running", "8%", ""}), seconds(5));
  for (int i = 0; i < 30; ++i) pauses.after({"Running", "8%", ""});
  EXPECT_EQ(pauses.after({"Running", "8%", ""}), seconds(21));
  EXPECT_EQ(pauses.after({"Running", "9%", ""}), seconds(5));
}

TEST(operation_wait, it_ends_with_the_first_state_that_is_not_ongoing) {
  std::vector<OperationState> states = {
      {"NotStarted", "0%", ""}, {"Running", "50%", ""}, {"Failed", "50%", "UNKNOWN_ERROR: x"}};
  size_t looks = 0;
  std::vector<std::string> seen;
  std::vector<Duration> paused;
  const auto end =
      wait_for_end({.look = [&] { return Result<OperationState>(states.at(looks++)); },
                    .changed = [&](const OperationState& state) { seen.push_back(state.status); },
                    .pause = [&](Duration pause) { paused.push_back(pause); }},
                   seconds(1));
  EXPECT_EQ(end->details, "UNKNOWN_ERROR: x");
  EXPECT_EQ(seen, (std::vector<std::string>{"NotStarted", "Running", "Failed"}));
  EXPECT_EQ(paused, (std::vector<Duration>{seconds(1), seconds(1)}));
}

TEST(operation_wait, an_operation_is_read_from_the_recorded_document) {
  const auto state = parse_operation(
      R"({"name":"ArtifactStreamingConversion","resource":"a@sha256:b","status":"Running",)"
      R"("startTime":"2025-04-28T03:54:17Z","progress":"8%","details":"Conversion ongoing"})");
  EXPECT_EQ(state->status, "Running");
  EXPECT_EQ(state->progress, "8%");
  EXPECT_EQ(state->details, "Conversion ongoing");
  for (const char* wrong : {"", "[]", "{}", R"({"status":1})"})
    EXPECT_EQ(parse_operation(wrong).error().code, Code::kInvalid) << wrong;
}

}  // namespace
}  // namespace runnel::cli
