#include "access/htpasswd.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace runnel::access {
namespace {

// bcrypt of "correct horse" at its lowest cost, as `htpasswd -nbB -C 4` writes it.
constexpr const char* kHorse = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
constexpr const char* kBattery = "$2y$04$zyxwvutsrqponmlkjihgfeEj9hZ0r426ruQozKPdS8ZvkuJvyAjnm";

class HtpasswdFile : public testing::Test {
 protected:
  void write(std::string_view text) { ASSERT_TRUE(replace_file(path_, as_bytes(text), 0600)); }
  std::unique_ptr<Htpasswd> open() {
    auto opened = Htpasswd::open(path_, clock_);
    EXPECT_TRUE(opened) << opened.error().message;
    return *std::move(opened);
  }

  const test::TempDir directory_;
  const std::string path_ = directory_.path() + "/htpasswd";
  test::FakeClock clock_;
};

TEST_F(HtpasswdFile, KnowsRightPasswordsFromWrongOnes) {
  write(fmt::format("# people\nalice:{}\n\nbob:{}\r\n", kHorse, kBattery));
  const auto people = open();

  EXPECT_TRUE(people->verify("alice", "correct horse"));
  EXPECT_TRUE(people->verify("bob", "battery staple"));
  EXPECT_FALSE(people->verify("alice", "battery staple"));
  EXPECT_FALSE(people->verify("alice", ""));
  EXPECT_FALSE(people->verify("carol", "correct horse"));
  EXPECT_FALSE(people->verify("", "rasmuslerdorf"));
}

TEST_F(HtpasswdFile, ComparesTheWholePassword) {
  write(fmt::format("alice:{}\n", kHorse));
  const auto people = open();

  EXPECT_FALSE(people->verify("alice", std::string_view("correct horse\0x", 15)));
  EXPECT_FALSE(people->verify("alice", "correct horse" + std::string(72, 'x')));
}

TEST_F(HtpasswdFile, RemembersARightPasswordForFiveMinutes) {
  write(fmt::format("alice:{}\n", kHorse));
  const auto people = open();
  EXPECT_FALSE(people->known("alice", "correct horse"));

  ASSERT_TRUE(people->verify("alice", "correct horse"));

  EXPECT_TRUE(people->known("alice", "correct horse"));
  EXPECT_FALSE(people->known("alice", "wrong"));
  clock_.advance(std::chrono::minutes(5));
  EXPECT_FALSE(people->known("alice", "correct horse"));
}

TEST_F(HtpasswdFile, ForgetsWhoIsTakenOut) {
  write(fmt::format("alice:{}\n", kHorse));
  const auto people = open();
  ASSERT_TRUE(people->verify("alice", "correct horse"));

  write(fmt::format("bob:{}\n", kBattery));
  clock_.advance(std::chrono::seconds(2));

  EXPECT_FALSE(people->known("alice", "correct horse"));
  EXPECT_FALSE(people->verify("alice", "correct horse"));
  EXPECT_TRUE(people->verify("bob", "battery staple"));
}

TEST_F(HtpasswdFile, KeepsTheLastGoodOneWhenItIsBroken) {
  write(fmt::format("alice:{}\n", kHorse));
  const auto people = open();

  write("alice");
  clock_.advance(std::chrono::seconds(2));

  EXPECT_TRUE(people->verify("alice", "correct horse"));
}

TEST(HtpasswdText, NamesTheLineThatIsWrong) {
  EXPECT_EQ(parse_htpasswd("alice\n", "f").error().message, "f:1: a line is NAME:BCRYPT");
  const auto md5 = parse_htpasswd("# x\nalice:$apr1$abc$def\n", "f");
  EXPECT_EQ(md5.error().message,
            "f:2: the password of \"alice\" is not hashed with bcrypt: set it with htpasswd -B");
  const auto twice = parse_htpasswd(fmt::format("a:{0}\na:{0}\n", kHorse), "f");
  EXPECT_EQ(twice.error().message, "f:2: \"a\" stands there twice");
  EXPECT_FALSE(parse_htpasswd(fmt::format(":{}\n", kHorse), "f"));
}

}  // namespace
}  // namespace runnel::access
