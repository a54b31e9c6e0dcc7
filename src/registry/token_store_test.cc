#include "registry/token_store.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

class Tokens : public testing::Test {
 protected:
  Tokens() {
    Token token;
    token.name = "ci";
    token.scope_map = "_repositories_pull";
    EXPECT_TRUE(TokenStore(other_).put(token));
  }

  Token ci() { return TokenStore(other_).token("ci").value().value(); }
  void disable() {
    auto token = ci();
    token.enabled = false;
    EXPECT_TRUE(TokenStore(other_).put(token));
  }

  test::FakeClock clock_;
  const std::shared_ptr<test::MemoryMetadataStore::Data> data_ =
      test::MemoryMetadataStore::new_data();
  test::MemoryMetadataStore other_{data_, clock_};
};

TEST_F(Tokens, StayDisabledWhenAPasswordIsMadeAtTheSameTime) {
  int calls = 0;
  test::MemoryMetadataStore slow(data_, clock_, [&] {
    if (++calls == 2) disable();  // between its reading and its writing
  });

  const auto password = TokenStore(slow).generate_password("ci", 0, clock_.wall(), {});

  ASSERT_TRUE(password);
  EXPECT_FALSE(ci().enabled);
  EXPECT_NE(mark_of(ci(), *password, clock_.wall()), "");
}

TEST_F(Tokens, TellTheirPasswordsApart) {
  const TokenStore tokens(other_);
  const auto now = clock_.wall();
  const auto end = now + std::chrono::hours(1);
  const auto one = tokens.generate_password("ci", 0, now, {}).value();
  const auto two = tokens.generate_password("ci", 1, now, end).value();
  const auto mark_one = mark_of(ci(), one, now);
  const auto mark_two = mark_of(ci(), two, now);

  EXPECT_NE(mark_one, mark_two);
  EXPECT_TRUE(has_marked(ci(), mark_one, now));
  EXPECT_TRUE(has_marked(ci(), mark_two, now));
  EXPECT_FALSE(has_marked(ci(), "", now));
  EXPECT_EQ(mark_of(ci(), "wrong", now), "");
  EXPECT_EQ(mark_of(ci(), two, end), "");
  EXPECT_FALSE(has_marked(ci(), mark_two, end));
  ASSERT_TRUE(tokens.generate_password("ci", 0, now, {}));
  EXPECT_EQ(mark_of(ci(), one, now), "");
  EXPECT_FALSE(has_marked(ci(), mark_one, now));
}

TEST_F(Tokens, AreNotReplacedByWhatWasReadBeforeAChange) {
  const auto read = ci();
  disable();

  const auto put = TokenStore(other_).put(read);

  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, Code::kConflict);
  EXPECT_FALSE(ci().enabled);
}

}  // namespace
}  // namespace runnel::registry
