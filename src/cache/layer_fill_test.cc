// Layer: the background fill.
#include <gtest/gtest.h>

#include <cerrno>

#include "cache/fault.h"
#include "cache/layer.h"
#include "support/open_layer.h"

namespace runnel::cache {
namespace {

using fetch::Priority;
using test::OpenLayer;

class LayerFill : public testing::Test {
 protected:
  ~LayerFill() override { set_faults({}); }

  std::vector<test::FakeRangeSource::Read> reads() const { return open_.source->reads(); }
  bool read(uint32_t chunk) { return open_.read(chunk).get().value() == open_.expected(chunk); }

  OpenLayer open_;
  Layer& layer_ = *open_.layer;
};

TEST_F(LayerFill, CompletesALayerInTheBackground) {
  open_.complete();

  ASSERT_FALSE(reads().empty());
  for (const auto& read : reads()) EXPECT_EQ(read.priority, Priority::kBackground);
  for (uint32_t chunk = 0; chunk < OpenLayer::kChunks; ++chunk) EXPECT_TRUE(read(chunk)) << chunk;
}

TEST_F(LayerFill, IsNotBegunWhenItIsSwitchedOff) {
  layer_.fill(false);

  EXPECT_TRUE(reads().empty());
}

TEST_F(LayerFill, IsOvertakenByAnUrgentReader) {
  open_.source->hold();
  layer_.fill(true);
  const auto filling = reads();
  ASSERT_GT(filling.size(), 2u) << "a read for each chunk, so that an urgent one can join";
  ASSERT_EQ(filling[2].priority, Priority::kBackground);
  ASSERT_EQ(filling[2].length, open_.frame(2).size());

  auto urgent = open_.read(2);

  ASSERT_EQ(reads().size(), filling.size() + 1);
  EXPECT_EQ(reads().back().priority, Priority::kDemand);
  EXPECT_EQ(reads().back().offset, filling[2].offset);
  open_.source->release();
  EXPECT_EQ(urgent.get().value(), open_.expected(2));
}

TEST_F(LayerFill, WaitsWhileOthersWaitForBytes) {
  open_.source->set_takes_background(false);
  layer_.fill(true);
  EXPECT_TRUE(reads().empty());

  open_.source->set_takes_background(true);
  open_.complete();
}

// What it brings would be lost a second later, and fetched again, for ever.
TEST_F(LayerFill, PausesWhenASyncHasFailed) {
  layer_.fill(true);
  open_.settle();
  ASSERT_EQ(layer_.stats().bytes_present, layer_.size());
  set_faults([](std::string_view point) { return point == "fdatasync" ? EIO : 0; });
  ASSERT_FALSE(layer_.sync());
  set_faults({});
  const auto asked = reads().size();

  layer_.fill(true);
  EXPECT_EQ(reads().size(), asked);

  open_.clock.skip(std::chrono::minutes(1));
  open_.complete();
}

// The disk is full, say: what it brings would be fetched in vain.
TEST_F(LayerFill, PausesForAMinuteWhenAChunkCouldNotBeWritten) {
  set_faults([](std::string_view point) { return point == "write" ? ENOSPC : 0; });
  ASSERT_TRUE(read(0));
  open_.settle();
  set_faults({});
  const auto asked = reads().size();

  layer_.fill(true);
  open_.clock.skip(std::chrono::seconds(50));
  layer_.fill(true);
  EXPECT_EQ(reads().size(), asked);

  open_.clock.skip(std::chrono::seconds(10));
  open_.complete();
}

TEST_F(LayerFill, PausesAsLongAsBitsCannotBeCleared) {
  layer_.fill(true);
  open_.settle();
  set_faults([](std::string_view point) { return point == "bits" ? EIO : 0; });
  ASSERT_FALSE(layer_.sync()) << "nothing is true of what has come";
  open_.clock.skip(std::chrono::minutes(1));
  ASSERT_FALSE(layer_.sync()) << "and that cannot be written either";
  const auto asked = reads().size();

  layer_.fill(true);

  EXPECT_EQ(reads().size(), asked);
}

TEST_F(LayerFill, ComesWithReadersOfAThirdOfALayer) {
  open_.source->set_takes_background(false);
  for (uint32_t chunk = 0; chunk < OpenLayer::kChunks / 3; ++chunk) {
    ASSERT_TRUE(read(chunk));
    layer_.fill(true);
  }
  ASSERT_EQ(reads().size(), OpenLayer::kChunks / 3) << "as much as a start may miss";

  ASSERT_TRUE(read(OpenLayer::kChunks / 3));
  open_.complete();

  EXPECT_EQ(reads().back().priority, Priority::kPrefetch);
}

TEST_F(LayerFill, TakesNoHotPackForWhatWasMissed) {
  open_.source->set_takes_background(false);
  for (uint32_t chunk = 0; chunk < OpenLayer::kChunks / 2; ++chunk) {
    ASSERT_TRUE(layer_.expect({chunk}));
    ASSERT_TRUE(layer_.insert(chunk, open_.frame(chunk)));
    ASSERT_TRUE(read(chunk));
  }

  layer_.fill(true);

  EXPECT_TRUE(reads().empty());
}

// A source that has refused the fill so often that it rests for a minute now.
class LayerFillRefused : public LayerFill {
 protected:
  void be_refused() {
    for (int i = 0; i < 7; ++i) {
      open_.clock.skip(std::chrono::minutes(1));
      EXPECT_GT(fill(), 0u);
    }
  }
  // How often the source is asked: for what is wrong, three times.
  size_t fill() {
    const auto before = reads().size();
    layer_.fill(true);
    for (int attempt = 0; attempt < 3; ++attempt) open_.settle();
    return reads().size() - before;
  }
};

TEST_F(LayerFillRefused, AsksAgainInAMinute) {
  for (const auto code : {Code::kNotFound, Code::kDenied, Code::kInvalid, Code::kUnsupported}) {
    open_.source->fail(Error(code, "no"));
    be_refused();

    EXPECT_EQ(fill(), 0u);

    open_.clock.skip(std::chrono::minutes(1));
    EXPECT_GT(fill(), 0u);
    open_.source->succeed();
  }
  open_.clock.skip(std::chrono::minutes(1));
  open_.complete();
}

TEST_F(LayerFillRefused, AsksForWrongBytesAgainInAMinute) {
  open_.source->corrupt();
  be_refused();

  EXPECT_EQ(fill(), 0u);
}

TEST_F(LayerFillRefused, GoesOnWhenSomebodyBringsACredential) {
  open_.source->fail(Error(Code::kDenied, "401"));
  be_refused();
  open_.source->succeed();

  layer_.credentials_changed();

  EXPECT_GT(fill(), 0u);
}

TEST_F(LayerFillRefused, GoesOnWhenItIsToHurry) {
  open_.source->fail(Error(Code::kNotFound, "404"));
  be_refused();
  open_.source->succeed();
  const auto before = reads().size();

  layer_.hurry();

  EXPECT_GT(reads().size(), before);
}

TEST_F(LayerFillRefused, GoesOnWhenAReaderHasHadAChunk) {
  open_.source->fail(Error(Code::kNotFound, "404"));
  be_refused();
  open_.source->succeed();

  ASSERT_TRUE(read(0));

  EXPECT_GT(fill(), 0u);
}

}  // namespace
}  // namespace runnel::cache
