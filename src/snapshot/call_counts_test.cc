#include "snapshot/call_counts.h"

#include <gtest/gtest.h>

namespace runnel::snapshot {
namespace {

TEST(CallCounts, KeepsCallsApartByHowTheyEnded) {
  CallCounts counts;

  counts.add("Prepare", "ok", std::chrono::milliseconds(1));
  counts.add("Prepare", "already exists", std::chrono::milliseconds(1));
  counts.add("Prepare", "already exists", std::chrono::seconds(90));

  const auto seen = counts.snapshot();
  EXPECT_EQ(seen.counts.at({"Prepare", "already exists"}), 2U);
  EXPECT_EQ(seen.counts.at({"Prepare", "ok"}), 1U);
  EXPECT_EQ(seen.durations.at("Prepare").counts.back(), 1U);
}

}  // namespace
}  // namespace runnel::snapshot
