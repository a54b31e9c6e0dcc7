#include "cache/chunk_states.h"

#include <gtest/gtest.h>

#include "support/sample_layer.h"

namespace runnel::cache {
namespace {

using State = ChunkStates::State;
using Chunks = std::vector<uint32_t>;

class ChunkStatesOfASample : public testing::Test {
 protected:
  const artifact::ChunkTable table_ = test::SampleLayer::make(4, 2).parse_table();
  const uint64_t chunk_bytes_ = table_.at(0).size();
  ChunkStates states_{table_};
};

TEST_F(ChunkStatesOfASample, AreDurableOnlyAfterTheirOwnSync) {
  states_.written(1);
  const auto round = states_.begin_sync();
  states_.written(2);

  EXPECT_EQ(round.data, Chunks{1});
  EXPECT_EQ(states_.synced(round), Chunks{1});

  EXPECT_EQ(states_.of(1), State::kDurable);
  EXPECT_EQ(states_.of(2), State::kWritten);
  EXPECT_EQ(states_.begin_sync().data, Chunks{2});
  EXPECT_EQ(states_.present_bytes(), 2 * chunk_bytes_);
}

TEST_F(ChunkStatesOfASample, AreNotDurableWhenWrittenAgainDuringTheSync) {
  states_.written(1);
  const auto round = states_.begin_sync();
  states_.drop(1);
  states_.written(1);

  EXPECT_TRUE(states_.synced(round).empty());

  EXPECT_EQ(states_.of(1), State::kWritten);
  const auto next = states_.begin_sync();
  EXPECT_EQ(next.untrue, Chunks{1});  // the first sync set its bit
  EXPECT_EQ(next.data, Chunks{1});
}

TEST_F(ChunkStatesOfASample, AreNotSyncedWhenDroppedBefore) {
  states_.written(1);
  states_.drop(1);

  EXPECT_TRUE(states_.begin_sync().data.empty());

  EXPECT_EQ(states_.of(1), State::kAbsent);
}

TEST_F(ChunkStatesOfASample, AreLostWithAFailedSyncAndWhatCameWhileItRan) {
  states_.found(0, true);
  states_.written(1);
  const auto round = states_.begin_sync();
  states_.written(2);

  EXPECT_EQ(states_.lost(round), (Chunks{1, 2}));

  EXPECT_EQ(states_.of(0), State::kDurable);
  EXPECT_EQ(states_.present_bytes(), chunk_bytes_);
  EXPECT_TRUE(states_.begin_sync().data.empty());
}

TEST_F(ChunkStatesOfASample, AreNotDurableForBeingRightInTheFile) {
  states_.found(1, false);

  states_.checked(1);

  EXPECT_EQ(states_.of(1), State::kWritten);
  EXPECT_EQ(states_.present_bytes(), chunk_bytes_);
  EXPECT_EQ(states_.begin_sync().data, Chunks{1});
}

TEST_F(ChunkStatesOfASample, AreLostWithAFailedSyncWhenTheyWereNotLookedAt) {
  states_.found(0, false);
  states_.found(1, false);
  states_.checked(1);
  states_.written(2);

  EXPECT_EQ(states_.lost(states_.begin_sync()), (Chunks{1, 2, 0}));

  EXPECT_EQ(states_.of(0), State::kAbsent);
  EXPECT_EQ(states_.suspects(), 0u);
  EXPECT_EQ(states_.begin_sync().untrue, (Chunks{1, 2, 0}));
}

TEST_F(ChunkStatesOfASample, ComeAgainInTheNextRoundWhenNothingWasDone) {
  states_.found(0, false);
  states_.drop(0);
  states_.written(1);

  states_.put_back(states_.begin_sync());

  const auto round = states_.begin_sync();
  EXPECT_EQ(round.untrue, Chunks{0});
  EXPECT_EQ(round.data, Chunks{1});
}

TEST_F(ChunkStatesOfASample, AreAllDurableWhenNoneIsMissingOrSuspect) {
  for (uint32_t chunk = 0; chunk < 3; ++chunk) states_.found(chunk, true);
  states_.found(3, false);
  EXPECT_FALSE(states_.all_durable());
  EXPECT_EQ(states_.suspects(), 1u);

  states_.checked(3);

  EXPECT_EQ(states_.suspects(), 0u);
  EXPECT_FALSE(states_.all_durable());
  EXPECT_EQ(states_.synced(states_.begin_sync()), Chunks{3});
  EXPECT_TRUE(states_.all_durable());
  states_.drop(3);
  EXPECT_FALSE(states_.all_durable());
}

}  // namespace
}  // namespace runnel::cache
