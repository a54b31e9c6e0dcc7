#include "oci/document.h"

#include <gtest/gtest.h>

#include "oci/image_config.h"
#include "oci/media_types.h"

namespace runnel::oci {
namespace {

Descriptor descriptor(std::string_view content, std::string_view type) {
  Descriptor made;
  made.media_type = type;
  made.digest = Digest::of(as_bytes(content));
  made.size = content.size();
  return made;
}

Manifest image() {
  Manifest made;
  made.media_type = kOciManifest;
  made.config = descriptor("{}", kOciConfig);
  made.layers = {descriptor("layer 0", kOciLayerGzip), descriptor("layer 1", kOciLayerZstd)};
  return made;
}

// What parse_document says of `text`, for the cases that must be refused.
Code refusal(const std::string& text, std::string_view type = kOciManifest) {
  const auto parsed = parse_document(as_bytes(text), type);
  EXPECT_FALSE(parsed) << text;
  return parsed ? Code::kExists : parsed.error().code;
}

const std::string kConfig = R"("config":{"mediaType":"a/b","size":2,"digest":")" +
                            Digest::of(as_bytes("{}")).to_string() + "\"}";

TEST(ParseDocument, ReadsBackAManifest) {
  auto manifest = image();
  manifest.subject = descriptor("subject", kOciManifest);
  manifest.artifact_type = "application/vnd.example";
  manifest.annotations = {{"a", "1"}, {"b", "\"quoted\"\n"}};
  manifest.layers[0].urls = {"https://example.com/layer"};
  manifest.layers[0].annotations = {{"k", "v"}};

  EXPECT_EQ(parse_manifest(as_bytes(to_json(manifest)), kOciManifest).value(), manifest);
}

TEST(ParseDocument, ReadsBackAnIndex) {
  Index index;
  index.media_type = kDockerList;
  index.manifests = {descriptor("arm", kDockerManifest)};
  index.manifests[0].platform = Platform{"linux", "arm64", "v8", "1.0", {"x"}};
  index.manifests[0].artifact_type = "application/vnd.example";

  EXPECT_EQ(parse_index(as_bytes(to_json(index)), kDockerList).value(), index);
}

TEST(ParseDocument, WritesEqualManifestsAsEqualBytes) {
  EXPECT_EQ(to_json(image()), to_json(image()));
  EXPECT_TRUE(to_json(image()).starts_with(
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{)"));
}

TEST(ParseDocument, DecidesByTheDocumentWhenTheSenderDoesNotSay) {
  EXPECT_TRUE(parse_manifest(as_bytes(to_json(image())), ""));
  EXPECT_TRUE(parse_manifest(as_bytes(to_json(image())), "application/json; charset=utf-8"));
  EXPECT_EQ(parse_index(as_bytes(R"({"schemaVersion":2,"manifests":[]})"))->media_type, kOciIndex);
  EXPECT_EQ(parse_manifest(as_bytes("{\"schemaVersion\":2," + kConfig + "}"))->media_type,
            kOciManifest);
}

TEST(ParseDocument, IgnoresUnknownMembersAndTakesNullForAbsent) {
  const auto manifest =
      parse_manifest(as_bytes("{\"schemaVersion\":2,\"layers\":null,\"annotations\":null,"
                              "\"subject\":null,\"x\":{\"y\":[1,2]}," +
                              kConfig + "}"),
                     kOciManifest);

  ASSERT_TRUE(manifest);
  EXPECT_TRUE(manifest->layers.empty());
  EXPECT_FALSE(manifest->subject);
}

TEST(ParseDocument, RefusesADocumentThatIsBoth) {
  const auto both = "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]," + kConfig + "}";

  EXPECT_EQ(refusal(both, kOciManifest), Code::kInvalid);
  EXPECT_EQ(refusal(both, kOciIndex), Code::kInvalid);
  EXPECT_EQ(refusal(both, ""), Code::kInvalid);
  EXPECT_EQ(refusal(to_json(image()), kOciIndex), Code::kInvalid);
  EXPECT_EQ(refusal(to_json(image()), kDockerManifest), Code::kInvalid);
}

TEST(ParseDocument, RefusesWrongTypes) {
  const std::string start = "{\"schemaVersion\":2,";

  EXPECT_EQ(refusal(""), Code::kInvalid);
  EXPECT_EQ(refusal("[]"), Code::kInvalid);
  EXPECT_EQ(refusal("{} x"), Code::kInvalid);
  EXPECT_EQ(refusal("{" + kConfig + "}"), Code::kInvalid);
  EXPECT_EQ(refusal("{\"schemaVersion\":\"2\"," + kConfig + "}"), Code::kInvalid);
  EXPECT_EQ(refusal("{\"schemaVersion\":1,\"fsLayers\":[]}"), Code::kUnsupported);
  EXPECT_EQ(refusal(start + "\"layers\":[]}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + "\"config\":7}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + kConfig + ",\"layers\":{}}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + kConfig + ",\"layers\":[7]}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + kConfig + ",\"annotations\":{\"a\":1}}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + kConfig + ",\"artifactType\":[]}"), Code::kInvalid);
  EXPECT_EQ(refusal(start + kConfig + "}", "text/plain"), Code::kUnsupported);
  const auto digest = Digest::of({}).to_string();
  for (const auto* size : {"-1", "1.5", "\"2\"", "1e3", "18446744073709551615"})
    EXPECT_EQ(refusal(start + R"("config":{"mediaType":"a/b","digest":")" + digest +
                      "\",\"size\":" + size + "}}"),
              Code::kInvalid)
        << size;
}

TEST(ParseDocument, BoundsSizeDepthAndCount) {
  const std::string start = "{\"schemaVersion\":2," + kConfig;
  std::string many = start + ",\"layers\":[";
  for (size_t i = 0; i <= kMaxDescriptors; ++i) many += i == 0 ? "0" : ",0";

  EXPECT_EQ(refusal(start + ",\"x\":" + std::string(100, '[') + std::string(100, ']') + "}"),
            Code::kInvalid);
  EXPECT_EQ(refusal(std::string(kMaxDocumentBytes + 1, ' ')), Code::kExhausted);
  EXPECT_EQ(refusal(many + "]}"), Code::kExhausted);
}

TEST(ImageConfig, ReadsPlatformAndDiffIds) {
  const auto one = Digest::of(as_bytes("1"));
  const auto text = R"({"os":"linux","architecture":"arm64","variant":"v8","config":{"Env":[]},)"
                    R"("rootfs":{"type":"layers","diff_ids":[")" +
                    one.to_string() + "\"]}}";

  const auto config = parse_image_config(as_bytes(text));

  ASSERT_TRUE(config);
  EXPECT_EQ(config->os, "linux");
  EXPECT_EQ(config->architecture, "arm64");
  EXPECT_EQ(config->variant, "v8");
  EXPECT_EQ(config->diff_ids, std::vector{one});
}

TEST(ImageConfig, RefusesDiffIdsThatAreNoDigests) {
  EXPECT_FALSE(parse_image_config(as_bytes(R"({"rootfs":{"diff_ids":["sha256:1"]}})")));
  EXPECT_FALSE(parse_image_config(as_bytes(R"({"rootfs":{"diff_ids":"x"}})")));
  EXPECT_FALSE(parse_image_config(as_bytes(R"({"rootfs":[]})")));
  EXPECT_TRUE(parse_image_config(as_bytes("{}")));
}

TEST(ChainIds, HashTheChainBelowAndTheDiffId) {
  const std::vector diff_ids = {Digest::of(as_bytes("0")), Digest::of(as_bytes("1")),
                                Digest::of(as_bytes("2"))};

  const auto chain = chain_ids(diff_ids);

  ASSERT_EQ(chain.size(), 3u);
  EXPECT_EQ(chain[0], diff_ids[0]);
  EXPECT_EQ(chain[1],
            Digest::of(as_bytes(diff_ids[0].to_string() + " " + diff_ids[1].to_string())));
  EXPECT_EQ(chain[2], Digest::of(as_bytes(chain[1].to_string() + " " + diff_ids[2].to_string())));
  EXPECT_TRUE(chain_ids({}).empty());
}

}  // namespace
}  // namespace runnel::oci
