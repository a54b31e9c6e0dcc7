#include "cli/registry_access.h"

#include <gtest/gtest.h>

namespace runnel::cli {
namespace {

const oci::Reference kImage = oci::Reference::parse("registry.example/team/app:v1").value();

TEST(Advice, IsToLogInWhereTheRegistryRefuses) {
  EXPECT_EQ(with_advice({Code::kDenied, "refused"}, "registry.example").message,
            "refused; log in with `runnel login -n registry.example` (or `docker login "
            "registry.example`, podman)");
}

TEST(Advice, IsToLookWhereTheRegistryCannotBeReached) {
  EXPECT_EQ(with_advice({Code::kUnavailable, "gone"}, "registry.example").message,
            "gone; `runnel check-health -n registry.example` looks at what has to work");
  EXPECT_EQ(with_push_advice({Code::kUnavailable, "gone"}, kImage, true).message,
            "gone; `runnel check-health -n registry.example` looks at what has to work");
}

TEST(Advice, IsNotGivenWhereNoneIsKnown) {
  EXPECT_EQ(with_advice({Code::kNotFound, "no such tag"}, "registry.example").message,
            "no such tag");
}

TEST(Advice, NamesWhoMayPushAnArtifact) {
  EXPECT_EQ(with_push_advice({Code::kDenied, "refused"}, kImage, false).message,
            "refused; log in with `runnel login -n registry.example` (or `docker login "
            "registry.example`, podman) as somebody who may push to team/app");
}

TEST(Advice, NamesTheRoleThatOurRegistryWantsAndWhatGoesWithoutIt) {
  EXPECT_EQ(with_push_advice({Code::kDenied, "refused"}, kImage, true).message,
            "refused; log in with `runnel login -n registry.example` (or `docker login "
            "registry.example`, podman) as somebody who may push to team/app and has the role "
            "Converter there (an owner gives it with `runnel role assignment create -r "
            "registry.example --assignee NAME --role Converter --scope team/app`), or have the "
            "registry convert it with `runnel artifact-streaming create -n registry.example "
            "--image team/app:v1`");
  auto by_digest = kImage;
  by_digest.digest = oci::Digest::of({});
  EXPECT_TRUE(with_push_advice({Code::kDenied, "refused"}, by_digest, true)
                  .message.ends_with("--image team/app@" + oci::Digest::of({}).to_string() + "`"));
}

}  // namespace
}  // namespace runnel::cli
