// A registry that knows four people, and what they may do: each with "NAME-password" as password.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "base/base64.h"
#include "base/durable.h"
#include "net/url.h"
#include "support/registry_fixture.h"

namespace runnel::test {

// bcrypt of the name and "-password", at the lowest cost.
inline constexpr const char* kPeople =
    "reader:$2y$04$abcdefghijklmnopqrstuuJrYgcKAXtZL5K4o8WC.BGozQtX36Hoi\n"
    "owner:$2y$04$abcdefghijklmnopqrstuueq.9O3slT88H.R/Ie8Pfn8QEGfb916W\n"
    "writer:$2y$04$abcdefghijklmnopqrstuuW7cUQRe2orPE4LdAW4FedW4hz6ldpzG\n"
    "converter:$2y$04$abcdefghijklmnopqrstuuz4gyrE87VcPC4MlbF2jPbaSpWTfPqQW\n";

class GuardedRegistryFixture : public RegistryFixture {
 protected:
  GuardedRegistryFixture() {
    const auto path = directory_.path() + "/htpasswd";
    EXPECT_TRUE(replace_file(path, as_bytes(kPeople), 0600));
    registry_.reset();
    config_.auth.htpasswd = path;
    config_.auth.anonymous_pull = {"public/*"};
    config_.auth.users["owner"] = {{"*", access::Actions::all()}};
    config_.auth.users["reader"] = {{"team/*", access::role("AcrPull").value()}};
    config_.auth.users["writer"] = {{"team/*", access::role("AcrPush").value()}};
    config_.auth.users["converter"] = {{"team/*", access::role("Converter").value()}};
    start();
  }

  static net::Header basic(const std::string& user) {
    return {"Authorization", "Basic " + to_base64(user + ":" + user + "-password")};
  }
  static net::Header bearer(const std::string& token) {
    return {"Authorization", "Bearer " + token};
  }

  static net::Header basic(const std::string& user, const std::string& password) {
    return {"Authorization", "Basic " + to_base64(user + ":" + password)};
  }

  Answered as(const std::string& user, const std::string& method, const std::string& target,
              std::string_view body = {}) {
    return send(method, target, body, {basic(user)});
  }

  static std::string member(const Answered& answer, const char* name) {
    const auto value = boost::json::parse(answer.body);
    const auto* found = value.as_object().if_contains(name);
    return found == nullptr ? "(none)" : boost::json::value_to<std::string>(*found);
  }
  static std::string code(const Answered& answer) {
    const auto value = boost::json::parse(answer.body);
    return boost::json::value_to<std::string>(value.at("errors").at(0).at("code"));
  }

  std::string token_for(const std::string& user, const std::string& scope) {
    const auto answer =
        as(user, "GET", "/oauth2/token?service=x&scope=" + net::percent_encode(scope));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return member(answer, "token");
  }

  // The digest of a blob that the owner pushed.
  std::string blob_of(const std::string& repository, std::string_view text) {
    const auto begun = as("owner", "POST", "/v2/" + repository + "/blobs/uploads/");
    EXPECT_EQ(begun.status, 202);
    const auto digest = oci::Digest::of(as_bytes(text)).to_string();
    EXPECT_EQ(as("owner", "PUT", begun.header("Location") + "?digest=" + digest, text).status, 201);
    return digest;
  }

  Answered push_tag(const std::string& user, const std::string& repository, const std::string& tag,
                    const std::string& artifact_type = {}) {
    blob_of(repository, "{}");
    auto made = image({});
    made.artifact_type = artifact_type;
    return send("PUT", "/v2/" + repository + "/manifests/" + tag, oci::to_json(made),
                {basic(user), net::Header("Content-Type", std::string(oci::kOciManifest))});
  }
};

}  // namespace runnel::test
