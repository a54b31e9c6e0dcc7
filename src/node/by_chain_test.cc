#include "node/by_chain.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace runnel::node {
namespace {

struct Image {
  std::vector<std::string> chain_ids;
};

std::shared_ptr<Image> image(std::vector<std::string> chain_ids) {
  return std::make_shared<Image>(Image{.chain_ids = std::move(chain_ids)});
}

std::vector<std::pair<Image*, size_t>> found(const ByChain<Image>& all, std::string_view chain) {
  std::vector<std::pair<Image*, size_t>> out;
  for (const auto& has : all.find(chain)) out.emplace_back(has.image.get(), has.layers);
  return out;
}

using Found = std::vector<std::pair<Image*, size_t>>;

TEST(ByChain, FindsEveryImageOnABaseAndHowManyLayersThatIs) {
  ByChain<Image> all;
  const auto first = image({"lower", "base", "first"});
  const auto second = image({"lower", "base"});
  all.add(first);
  all.add(second);

  EXPECT_EQ(found(all, "base"), (Found{{first.get(), 2}, {second.get(), 2}}));
  EXPECT_EQ(found(all, "first"), (Found{{first.get(), 3}}));
  EXPECT_EQ(found(all, "other"), Found{});
}

TEST(ByChain, FindsAnImageNoMoreThatWasRemovedAndLeavesTheOthers) {
  ByChain<Image> all;
  const auto first = image({"base", "first"});
  const auto same = image({"base", "first"});
  all.add(first);
  all.add(same);

  all.remove(first);
  all.remove(image({"base", "first"}));  // is not here

  EXPECT_EQ(found(all, "first"), (Found{{same.get(), 2}}));
  EXPECT_EQ(first.use_count(), 1);
  all.remove(same);
  EXPECT_EQ(found(all, "base"), Found{});
}

TEST(ByChain, TakesAnImageWhoseLayersAreNotKnownYet) {
  ByChain<Image> all;
  const auto coming = image({});
  all.add(coming);
  all.remove(coming);
  coming->chain_ids = {"base"};
  all.add(coming);

  EXPECT_EQ(found(all, "base"), (Found{{coming.get(), 1}}));
}

}  // namespace
}  // namespace runnel::node
