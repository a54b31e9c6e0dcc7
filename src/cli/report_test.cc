#include "cli/report.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace runnel::cli {
namespace {

// No Result on the way can lose what kind it was.
static_assert(!std::is_constructible_v<Error, Failure>);
static_assert(!std::is_constructible_v<Result<void>, std::unexpected<Failure>>);

// What report() prints and returns.
struct Reported {
  int code = 0;
  std::string printed;
};

Reported reported(const Failure& failure) {
  testing::internal::CaptureStderr();
  const int code = report(failure);
  return {code, testing::internal::GetCapturedStderr()};
}

Outcome<int> number_of(std::string_view text) {
  if (text.empty()) return usage_error("--number N, not {}", "nothing");
  if (text == "7") return 7;
  return fail(Code::kNotFound, "there is no {}", text);
}

Outcome<int> twice(std::string_view text) {
  RUNNEL_TRY(const int number, number_of(text));
  return 2 * number;
}

TEST(report, wrong_usage_is_2_and_keeps_its_kind_on_the_way) {
  EXPECT_EQ(*twice("7"), 14);

  const auto wrong = reported(twice("").error());

  EXPECT_EQ(wrong.code, 2);
  EXPECT_EQ(wrong.printed, "runnel: Usage error: --number N, not nothing\n");
}

TEST(report, everything_else_is_1) {
  const auto failed = reported(twice("5").error());
  EXPECT_EQ(failed.code, 1);
  EXPECT_EQ(failed.printed, "runnel: there is no 5\n");
}

TEST(report, words_do_not_make_an_error_wrong_usage) {
  const auto refused = reported(Error(Code::kDenied, "Usage error: says the registry"));
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.printed, "runnel: Usage error: says the registry\n");
}

TEST(report, what_was_typed_and_cannot_be_parsed_is_wrong_usage) {
  const Result<int> wrong = fail(Code::kInvalid, "not a number");
  EXPECT_EQ(typed(wrong).error().kind, Failure::Kind::kUsage);
  EXPECT_EQ(typed(wrong).error().error.message, "not a number");
  EXPECT_EQ(*typed(Result<int>(3)), 3);
}

}  // namespace
}  // namespace runnel::cli
