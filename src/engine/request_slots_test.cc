#include "engine/request_slots.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

namespace runnel::engine {
namespace {

UniqueFd copy_of(const UniqueFd& fd) {
  return UniqueFd(::dup(fd.get()));
}

TEST(RequestSlots, GiveTheNextWorkerWhatIsHeld) {
  const auto file = RequestSlots::create_file().value();
  uint32_t held = 0;
  {
    const auto slots = RequestSlots::open(copy_of(file)).value();
    uint32_t released = 0;
    ASSERT_TRUE(slots->claim(held));
    ASSERT_TRUE(slots->claim(released));
    store_le<uint32_t>(slots->bytes(held).data(), 80);
    store_le<uint32_t>(slots->bytes(released).data(), 80);
    slots->release(released);
  }

  const auto next = RequestSlots::open(copy_of(file)).value();

  ASSERT_EQ(next->inherited(), std::vector<uint32_t>{held});
  EXPECT_EQ(load_le<uint32_t>(next->bytes(held).data()), 80u);
}

TEST(RequestSlots, RememberWhenARequestWasFirstTaken) {
  const auto file = RequestSlots::create_file().value();
  const SteadyTime when(std::chrono::seconds(1234));
  uint32_t slot = 0;
  {
    const auto slots = RequestSlots::open(copy_of(file)).value();
    ASSERT_TRUE(slots->claim(slot));
    EXPECT_FALSE(slots->taken(slot));
    store_le<uint32_t>(slots->bytes(slot).data(), 80);
    slots->set_taken(slot, when);
  }

  const auto next = RequestSlots::open(copy_of(file)).value();

  EXPECT_EQ(next->taken(slot), when);
  next->release(slot);
  EXPECT_FALSE(next->taken(slot));
}

TEST(RequestSlots, AreFreeWhenTheyWereClaimedAndNothingWasRead) {
  const auto file = RequestSlots::create_file().value();
  {
    const auto slots = RequestSlots::open(copy_of(file)).value();
    uint32_t slot = 0;
    ASSERT_TRUE(slots->claim(slot));
  }

  EXPECT_TRUE(RequestSlots::open(copy_of(file)).value()->inherited().empty());
}

TEST(RequestSlots, MakeAClaimWaitForARelease) {
  const auto slots = RequestSlots::open(RequestSlots::create_file().value()).value();
  uint32_t last = 0;
  for (uint32_t i = 0; i < RequestSlots::kCount; ++i) ASSERT_TRUE(slots->claim(last));

  uint32_t got = RequestSlots::kCount;
  std::thread claimer([&] { ASSERT_TRUE(slots->claim(got)); });
  slots->release(last);
  claimer.join();

  EXPECT_EQ(got, last);
}

TEST(RequestSlots, EndTheWaitOfAClaimAtTheStop) {
  const auto slots = RequestSlots::open(RequestSlots::create_file().value()).value();
  uint32_t slot = 0;
  for (uint32_t i = 0; i < RequestSlots::kCount; ++i) ASSERT_TRUE(slots->claim(slot));

  std::thread claimer([&] { EXPECT_FALSE(slots->claim(slot)); });
  slots->stop();
  claimer.join();
}

TEST(RequestSlots, RefuseAFileOfAnotherSize) {
  const auto file = RequestSlots::create_file().value();
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);

  EXPECT_FALSE(RequestSlots::open(copy_of(file)));
}

}  // namespace
}  // namespace runnel::engine
