#include "oci/background_digester.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>

namespace runnel::oci {
namespace {

Buffer content(size_t size) {
  Buffer bytes(size);
  uint32_t state = 7;
  for (auto& byte : bytes)
    byte = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST(BackgroundDigester, HashesWhatItGetsInOrderWhateverThePieces) {
  const Buffer bytes = content((9 << 20) + 17);  // more than it keeps
  WorkerPool pool(2);
  for (const size_t piece : {size_t{1000}, size_t{256} << 10, size_t{3} << 20, bytes.size()}) {
    BackgroundDigester digester(Algorithm::kSha256, &pool);
    for (Bytes rest = bytes; !rest.empty();) {
      const auto part = rest.first(std::min(piece, rest.size()));
      digester.update(part);
      rest = rest.subspan(part.size());
    }
    EXPECT_EQ(digester.finish(), Digest::of(bytes)) << piece;
  }
}

TEST(BackgroundDigester, StartsAnewAfterADigest) {
  WorkerPool pool(1);
  BackgroundDigester digester(Algorithm::kSha512, &pool);

  EXPECT_EQ(digester.finish(), Digest::of({}, Algorithm::kSha512));
  digester.update(as_bytes("abc"));
  EXPECT_EQ(digester.finish(), Digest::of(as_bytes("abc"), Algorithm::kSha512));
}

TEST(BackgroundDigester, HashesAtOnceWithoutAPool) {
  const Buffer bytes = content(1 << 20);
  BackgroundDigester digester(Algorithm::kSha256);

  digester.update(bytes);
  EXPECT_EQ(digester.finish(), Digest::of(bytes));
}

TEST(BackgroundDigester, DropsWhatWaitsWhenItIsNotWantedAnyMore) {
  const Buffer bytes = content(1 << 20);
  WorkerPool pool(1);
  std::promise<void> go;
  pool.submit([&go] { go.get_future().wait(); });
  std::optional<BackgroundDigester> digester(std::in_place, Algorithm::kSha256, &pool);
  digester->update(bytes);  // its task stands behind the one that waits
  go.set_value();

  digester.reset();

  // The pool has nothing of it any more: another one uses it.
  BackgroundDigester next(Algorithm::kSha256, &pool);
  next.update(bytes);
  EXPECT_EQ(next.finish(), Digest::of(bytes));
}

}  // namespace
}  // namespace runnel::oci
