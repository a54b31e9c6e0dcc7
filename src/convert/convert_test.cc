#include "convert/convert.h"

#include <gtest/gtest.h>

#include "support/repository_fixture.h"

namespace runnel::convert {
namespace {

using Rights = remote::RemoteRepository;

const std::string kOurs(artifact::kAzureArtifactType);
const std::string kElsewhere(artifact::kArtifactType);

TEST_F(Rights, AreAskedForAndNothingStays) {
  for (const auto& type : {kOurs, kElsewhere}) {
    registry_.forget_seen();
    const auto may = check_rights(repository(), type);

    EXPECT_TRUE(may) << may.error().message;
    EXPECT_EQ(registry_.count("POST "), 1u);
    EXPECT_EQ(registry_.count("DELETE "), 1u);
    EXPECT_EQ(registry_.count("PUT /v2/team/app/manifests/"), type == kOurs ? 1u : 0u);
    EXPECT_EQ(registry_.manifest("team/app", oci::Digest::of({}).to_string()), std::nullopt);
  }
}

TEST_F(Rights, LackWhereNoBlobMayBePushed) {
  registry_.inject("POST ", {.status = 403});

  const auto may = check_rights(repository(), kElsewhere);

  ASSERT_FALSE(may);
  EXPECT_EQ(may.error().code, Code::kDenied);
}

TEST_F(Rights, LackWhereOnlyTheArtifactMayNotBePushed) {
  registry_.inject("PUT ", {.status = 403});

  const auto may = check_rights(repository(), kOurs);

  ASSERT_FALSE(may);
  EXPECT_EQ(may.error().code, Code::kDenied);
  EXPECT_EQ(registry_.count("DELETE "), 1u);
}

TEST_F(Rights, AreNotMissedWhereTheRegistryRefusesForAnotherReason) {
  registry_.inject("POST ", {.status = 405});

  EXPECT_TRUE(check_rights(repository(), kElsewhere));
}

TEST_F(Rights, CannotBeAskedForWhereARegistryTakesNothing) {
  registry_.inject("POST ", {.status = 503}, 100);

  const auto may = check_rights(repository(), kElsewhere);

  ASSERT_FALSE(may);
  EXPECT_EQ(may.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::convert
