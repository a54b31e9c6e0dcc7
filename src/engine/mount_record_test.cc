#include "engine/mount_record.h"

#include <gtest/gtest.h>

namespace runnel::engine {
namespace {

const oci::Digest kOne = oci::Digest::of(as_bytes("one"));
const oci::Digest kTwo = oci::Digest::of(as_bytes("two"));

std::string with_layer(const std::string& members) {
  return R"({"fuse_device": "0:50", "layers": [")" + kOne.to_string() + "\"]" + members + "}";
}

TEST(MountRecord, ReadsWhatItWrote) {
  const MountRecord record{.fuse_device = "0:50",
                           .layers = {kOne, kTwo},
                           .served = {kTwo},
                           .parallel_loops = true,
                           .loops = {"loop0", "loop17"},
                           .tree = 7,
                           .metadata = "/var/lib/runnel/images/a/metadata.erofs"};

  EXPECT_EQ(parse_mount_record(as_bytes(to_json(record))), record);
  EXPECT_EQ(parse_mount_record(as_bytes(to_json({}))), MountRecord());
}

TEST(MountRecord, OfAnEarlierVersionHasServedAllItsLayersWhenItHasServedAny) {
  EXPECT_EQ(parse_mount_record(as_bytes(with_layer("")))->served, std::vector{kOne});
  const auto plain = R"({"fuse_device": "", "layers": [")" + kOne.to_string() + "\"]}";
  EXPECT_TRUE(parse_mount_record(as_bytes(plain))->served.empty());
}

// Such a tree's nodes would be those of another one: the bit above its number says that it is a
// tree (node_table.h).
TEST(MountRecord, HasNoNumberOfATreeThatNoTreeCanHave) {
  for (const auto* number : {"0", "-1", "2147483647", "2147483649", "4294967296", "1.5", "\"1\""})
    EXPECT_FALSE(parse_mount_record(
        as_bytes(with_layer(std::string(R"(, "metadata": "m", "tree": )") + number))))
        << number;
  EXPECT_TRUE(parse_mount_record(as_bytes(with_layer(R"(, "metadata": "m", "tree": 2147483646)"))));
}

TEST(MountRecord, SaysWhatIsWrong) {
  const auto error_of = [](const std::string& json) {
    const auto record = parse_mount_record(as_bytes(json));
    return record ? std::string() : record.error().message;
  };
  EXPECT_EQ(error_of("{"), "it is no JSON object");
  EXPECT_EQ(error_of(R"({"fuse_device": ""})"), "\"layers\" is no list");
  EXPECT_EQ(error_of(with_layer(R"(, "tree": 1)")), "\"metadata\" is no text");
  EXPECT_EQ(error_of(with_layer(R"(, "served": [")" + kTwo.to_string() + "\"]")),
            kTwo.to_string() + " is served and no layer of it");
  EXPECT_EQ(error_of(with_layer(R"(, "loops": ["loop1", "loop2"])")), "2 loop devices, 1 layers");
  for (const auto* name : {R"("sda")", R"("loop")", R"("loop1/../sda")", R"("loop12345678901")"})
    EXPECT_EQ(error_of(with_layer(std::string(R"(, "loops": [)") + name + "]")),
              "\"loops\" holds what is no loop device")
        << name;
}

}  // namespace
}  // namespace runnel::engine
