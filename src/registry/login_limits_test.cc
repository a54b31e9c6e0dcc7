#include "registry/login_limits.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/fake_clock.h"

namespace runnel::registry {
namespace {

class LoginLimitsTest : public testing::Test {
 protected:
  int check(const std::string& user, const std::string& address) {
    const auto checked = limits_.check(user, address);
    return checked ? 200 : checked.error().status;
  }
  // Waits until the test ends.
  int wait_in_line(const std::string& address) {
    auto place = limits_.wait_in_line(address);
    if (!place) return place.error().status;
    places_.push_back(*std::move(place));
    return 200;
  }

  test::FakeClock clock_;
  LoginLimits limits_{2, 6, clock_};
  std::vector<Shares::Place> places_;
};

TEST(NetworkOf, IsAnIPv4AddressAndHalfAnIPv6Address) {
  EXPECT_EQ(network_of("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(network_of("[2001:db8:1:2:3:4:5:6]"), "2001:db8:1:2::/64");
  EXPECT_EQ(network_of("[2001:db8:1:2::]"), network_of("[2001:db8:1:2:ffff::1]"));
  EXPECT_NE(network_of("[2001:db8:1:2::1]"), network_of("[2001:db8:1:3::1]"));
  EXPECT_EQ(network_of("uid 0"), "uid 0");
  EXPECT_EQ(network_of(""), "");
}

TEST(NameAt, IsShortHoweverLongTheNameIs) {
  const std::string address = "[2001:db8::1]";
  const std::string name(60'000, 'n');
  EXPECT_LT(name_at(name, address).size(), 128u);
  EXPECT_NE(name_at(name, address), name_at(name + "n", address));
  EXPECT_NE(name_at(name, address), name_at(name, "192.0.2.1"));
  EXPECT_EQ(name_at(name, address), name_at(name, "[2001:db8::2]"));
}

TEST_F(LoginLimitsTest, RefusesANameAfterItsWrongPasswordsFromThereOnly) {
  for (int i = 0; i < 2; ++i) limits_.failed("victim", "192.0.2.1");

  EXPECT_EQ(check("victim", "192.0.2.1"), 429);
  EXPECT_EQ(check("other", "192.0.2.1"), 200);
  EXPECT_EQ(check("victim", "192.0.2.2"), 200);
}

TEST_F(LoginLimitsTest, RefusesAnAddressAfterWrongPasswordsForChangingNames) {
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(check(std::to_string(i), "192.0.2.1"), 200);
    limits_.failed(std::to_string(i), "192.0.2.1");
  }

  EXPECT_EQ(check("anybody", "192.0.2.1"), 429);
  EXPECT_EQ(check("anybody", "192.0.2.2"), 200);
  clock_.advance(std::chrono::seconds(11));
  EXPECT_EQ(check("anybody", "192.0.2.1"), 200);
}

TEST_F(LoginLimitsTest, TakesAllAddressesOfAnIPv6NetworkForOne) {
  for (int i = 0; i < 6; ++i) limits_.failed(std::to_string(i), fmt::format("[2001:db8::{}]", i));

  EXPECT_EQ(check("anybody", "[2001:db8::99]"), 429);
  EXPECT_EQ(check("anybody", "[2001:db8:0:1::99]"), 200);
}

TEST_F(LoginLimitsTest, LetsNoNetworkFillTheQueueAlone) {
  for (size_t i = 0; i < LoginLimits::kMostOfOneNetwork; ++i)
    ASSERT_EQ(wait_in_line(fmt::format("[2001:db8::{}]", i)), 200);

  const auto refused = limits_.wait_in_line("[2001:db8::ffff]");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 503);
  EXPECT_TRUE(refused.error().headers.first("Retry-After"));
  EXPECT_EQ(wait_in_line("192.0.2.1"), 200);
}

TEST_F(LoginLimitsTest, LetsABoundedNumberWaitAndTheNextWhenOneIsDone) {
  for (size_t i = 0; i < LoginLimits::kMostWaiting; ++i)
    ASSERT_EQ(wait_in_line(fmt::format("192.0.2.{}", i)), 200);
  EXPECT_EQ(wait_in_line("198.51.100.1"), 503);

  places_.pop_back();

  EXPECT_EQ(wait_in_line("198.51.100.1"), 200);
  EXPECT_EQ(wait_in_line("198.51.100.1"), 503);
}

TEST(LoginLimits, LimitsNoFailuresWhenToldSo) {
  const test::FakeClock clock;
  LoginLimits limits(0, 0, clock);
  for (int i = 0; i < 1000; ++i) limits.failed("victim", "192.0.2.1");

  EXPECT_TRUE(limits.check("victim", "192.0.2.1"));
}

}  // namespace
}  // namespace runnel::registry
