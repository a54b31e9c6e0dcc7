// What nodes tell of starts, over HTTP.
#include <boost/json.hpp>

#include "registry/profile_votes.h"
#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;

class Profiles : public test::RegistryFixture {
 protected:
  static std::string start_of(uint32_t chunk) {
    return artifact::to_json(
        {.image = "i", .layers = {oci::Digest::of(as_bytes("layer"))}, .chunks = {{0, chunk}}});
  }
  std::string path_of(const std::string& manifest) const {
    return "/runnel/v1/team/app/_profiles/" + oci::Digest::of(as_bytes(manifest)).to_string();
  }
};

TEST_F(Profiles, AreWhatTheNodesHaveInCommon) {
  const auto path = path_of(push_image("team/app", "v1", {"layer"}));
  EXPECT_EQ(get(path).status, 404);

  EXPECT_EQ(send("POST", path + "?node=one", start_of(1)).status, 204);
  EXPECT_EQ(send("POST", path + "?node=two", start_of(2)).status, 204);
  EXPECT_EQ(send("POST", path + "?node=one", start_of(3)).status, 204);

  const auto shown = json::parse(get(path).body).as_object();
  EXPECT_EQ(shown.at("votes").to_number<int>(), 2);
  EXPECT_EQ(shown.at("chunks").as_array().size(), 2u);
  EXPECT_TRUE(artifact::parse_profile(as_bytes(get(path).body)));
}

TEST_F(Profiles, OfAbsentImagesAreNotTaken) {
  push_image("team/app", "v1", {"layer"});
  const auto path = path_of("something else");

  EXPECT_EQ(send("POST", path + "?node=one", start_of(1)).status, 404);
  EXPECT_EQ(get(path).status, 404);
}

TEST_F(Profiles, ThatAreWrongAreRefused) {
  const auto path = path_of(push_image("team/app", "v1", {"layer"}));

  EXPECT_EQ(send("POST", path + "?node=one", "{}").status, 400);
  EXPECT_EQ(send("POST", path, start_of(1)).status, 400) << "nobody tells it";
  EXPECT_EQ(send("POST", path + "?node=" + std::string(65, 'x'), start_of(1)).status, 400);
  EXPECT_EQ(send("POST", path + "?node=one", std::string(kMaxVoteBytes + 1, ' ')).status, 413);
  EXPECT_EQ(send("PUT", path + "?node=one", start_of(1)).status, 405);
  EXPECT_EQ(send("POST", "/runnel/v1/team/app/_profiles/sha256:x?node=a", start_of(1)).status, 400);
  EXPECT_EQ(get(path).status, 404) << "nothing was kept";
}

}  // namespace
}  // namespace runnel::registry
