#include "node/image_record.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

const ImageRecord kRecord{
    .host = "registry.example:5000",
    .repository = "team/app",
    .subject = oci::Digest::of(as_bytes("manifest")),
    .chain_ids = {oci::Digest::of(as_bytes("one")), oci::Digest::of(as_bytes("two"))},
    .layer_sizes = {1000, uint64_t{1} << 63}};

std::string with(const std::string& from, const std::string& to) {
  auto text = to_json(kRecord);
  text.replace(text.find(from), from.size(), to);
  return text;
}

std::string error_of(const std::string& json) {
  const auto record = parse_image_record(as_bytes(json));
  return record ? std::string() : record.error().message;
}

TEST(ImageRecord, ReadsWhatItWrote) {
  EXPECT_EQ(parse_image_record(as_bytes(to_json(kRecord))), kRecord);
}

TEST(ImageRecord, FromBeforeLayersHadSizesHasNone) {
  auto expected = kRecord;
  expected.layer_sizes.clear();

  EXPECT_EQ(parse_image_record(as_bytes(with("layer_sizes", "somewhat_new"))), expected);
}

TEST(ImageRecord, SaysWhatIsWrongAndWhereItIs) {
  EXPECT_EQ(error_of("[]"), "image.json: it is no JSON object");
  EXPECT_EQ(error_of(with("team/app", "")), "image.json: \"repository\" is empty");
  EXPECT_EQ(error_of(with("[1000,", "[1000,1000,")), "image.json: 3 sizes for 2 layers");
  EXPECT_EQ(error_of(with("[1000,", "[-1000,")), "image.json: a layer's size is no number");
  EXPECT_TRUE(error_of(with("sha256:", "sha256-")).starts_with("image.json: "));
}

TEST(ImageRecord, OfALaterVersionIsLeftToALaterProgram) {
  const auto record = parse_image_record(as_bytes(with("\"version\":1", "\"version\":2")));

  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace runnel::node
