#include "convert/worker_job.h"

#include <gtest/gtest.h>

namespace runnel::convert {
namespace {

WorkerMessage boot_done(const std::string& hot) {
  const auto digest = oci::Digest::of(as_bytes("a"));
  return BootDone{.boot = digest, .size = 2, .head = digest, .head_size = 1, .hot = hot};
}

TEST(WorkerMessage, NamesAHotPackByTheWordsThatThereAreOnly) {
  for (const auto* hot : {"", "guessed", "seeded", "recorded"})
    EXPECT_EQ(parse_worker_message(serialize(boot_done(hot))).value(), boot_done(hot));

  for (const auto& hot :
       {std::string("invented"), std::string("guessed\xff"), std::string(1 << 20, 'x')}) {
    const auto parsed = parse_worker_message(serialize(boot_done(hot)));
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, Code::kInvalid);
    EXPECT_LT(parsed.error().message.size(), 1000u);
  }
}

TEST(WorkerMessage, OfAFailureIsOneLineOfBoundedLength) {
  const WorkerMessage said = Error(Code::kInvalid, "a\nb\xff\u2026" + std::string(1 << 20, 'x'));

  const auto parsed = parse_worker_message(serialize(said));

  ASSERT_TRUE(parsed);
  const auto& error = std::get<Error>(*parsed);
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_EQ(error.message, "a?b?\u2026" + std::string(kMaxFailureText - 7, 'x'));
}

}  // namespace
}  // namespace runnel::convert
