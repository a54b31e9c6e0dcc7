#include "cache/closed_layers.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

using Layers = std::set<oci::Digest>;

const Layers kThree{oci::Digest::of(as_bytes("a")), oci::Digest::of(as_bytes("b")),
                    oci::Digest::of(as_bytes("c"))};

TEST(ClosedLayers, AreTakenOnce) {
  const test::TempDir directory;
  ASSERT_TRUE(leave_closed_layers(directory.path(), kThree));

  EXPECT_EQ(take_closed_layers(directory.path()).value(), kThree);
  EXPECT_EQ(take_closed_layers(directory.path()).value(), Layers());
}

TEST(ClosedLayers, CanBeNone) {
  EXPECT_EQ(parse_closed_layers(encode_closed_layers({})).value(), Layers());
}

TEST(ClosedLayers, AreNoneWhereAnyByteOfTheFileIsAnother) {
  const Buffer file = encode_closed_layers(kThree);
  for (size_t at = 0; at < file.size(); ++at) {
    Buffer damaged = file;
    damaged[at] ^= std::byte{1};
    EXPECT_EQ(parse_closed_layers(damaged).error().code, Code::kInvalid) << at;
    EXPECT_EQ(parse_closed_layers(Bytes(file).first(at)).error().code, Code::kInvalid) << at;
  }
}

TEST(ClosedLayers, OfADamagedFileAreNoneAndItIsGone) {
  const test::TempDir directory;
  ASSERT_TRUE(replace_file(directory.path() + "/clean", as_bytes("RNLCLEAN")));

  EXPECT_EQ(take_closed_layers(directory.path()).value(), Layers());
  EXPECT_EQ(read_file(directory.path() + "/clean", 100).error().code, Code::kNotFound);
}

TEST(ClosedLayers, AreNotTakenWhenTheFileCannotGo) {
  const test::TempDir directory;
  ASSERT_TRUE(make_directories(directory.path() + "/clean"));

  EXPECT_FALSE(take_closed_layers(directory.path()));
}

}  // namespace
}  // namespace runnel::cache
