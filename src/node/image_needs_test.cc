#include "node/image_needs.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

using ChainIds = ImageNeeds::ChainIds;

const ChainIds kFirst = {"base", "first"};
const ChainIds kSecond = {"base", "second"};

bool nothing(size_t) {
  return false;
}

TEST(ImageNeeds, AnImageStaysForTheSnapshotOfAllItsLayers) {
  const std::set<std::string> held = {"base", "first", "second"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kSecond);

  EXPECT_TRUE(needs.needs(kFirst, nothing));
  EXPECT_TRUE(needs.needs(kSecond, nothing));
}

TEST(ImageNeeds, AnImageGoesThoughAnotherOnItsBaseStays) {
  const std::set<std::string> held = {"base", "second"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kSecond);

  EXPECT_FALSE(needs.needs(kFirst, nothing));
  EXPECT_TRUE(needs.needs(kSecond, nothing));
}

TEST(ImageNeeds, TheLastImageThatHasAChainStaysForItsSnapshot) {
  const std::set<std::string> held = {"base"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kSecond);
  EXPECT_FALSE(needs.needs(kFirst, nothing));

  needs.remove(kFirst);

  EXPECT_TRUE(needs.needs(kSecond, nothing));
}

TEST(ImageNeeds, AnImageStaysWhileSomeOfItsLayersAreMountedOnTheirOwn) {
  const std::set<std::string> held = {"base", "second"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kSecond);

  EXPECT_TRUE(needs.needs(kFirst, [](size_t layers) { return layers == 1; }));
}

TEST(ImageNeeds, AMountOfLayersThatHaveNoSnapshotKeepsNothing) {
  const std::set<std::string> held = {"second"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kSecond);

  EXPECT_FALSE(needs.needs(kFirst, [](size_t) { return true; }));
}

TEST(ImageNeeds, ASnapshotCountsFromWhenItComesUntilItGoes) {
  std::set<std::string> held;
  ImageNeeds needs(held);
  needs.add(kFirst);
  EXPECT_FALSE(needs.needs(kFirst, nothing));

  held.insert("first");
  EXPECT_TRUE(needs.needs(kFirst, nothing));
  held.erase("first");
  EXPECT_FALSE(needs.needs(kFirst, nothing));
}

TEST(ImageNeeds, ImagesOfTheSameLayersBothStay) {
  const std::set<std::string> held = {"base", "first"};
  ImageNeeds needs(held);
  needs.add(kFirst);
  needs.add(kFirst);

  EXPECT_TRUE(needs.needs(kFirst, nothing));
  needs.remove(kFirst);
  EXPECT_TRUE(needs.needs(kFirst, nothing));
}

TEST(ImageNeeds, AnImageWithoutLayersIsNotNeeded) {
  const std::set<std::string> held = {"base"};
  ImageNeeds needs(held);
  needs.add({});

  EXPECT_FALSE(needs.needs({}, nothing));
}

}  // namespace
}  // namespace runnel::node
