// What the tests of a Repository start from: a fake registry, and a client of it that tries again
// at once.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "oci/media_types.h"
#include "remote/repository.h"
#include "support/anonymous.h"
#include "support/fake_registry.h"

namespace runnel::remote {

using namespace std::chrono_literals;
using test::FakeRegistry;
using test::Fault;

inline constexpr std::string_view kConfigType = "application/vnd.example.config";

class RemoteRepository : public ::testing::Test {
 protected:
  Repository repository(const std::string& name = "team/app") {
    return Repository(gateway(), registry_.host(), name);
  }
  std::shared_ptr<Gateway> gateway() {
    if (!gateway_) {
      GatewayOptions options;
      options.retry = {.attempts = 4, .first_delay = 1ms, .longest_delay = 5ms};
      options.stall_timeout = stall_;
      options.small_timeout = small_;
      gateway_ = std::make_shared<Gateway>(client_, hosts_, credentials_, clock_, options);
    }
    return gateway_;
  }
  static std::string manifest_json(const std::string& mark) { return to_json(manifest(mark)); }
  static oci::Manifest manifest(const std::string& mark) {
    oci::Manifest out;
    out.media_type = oci::kOciManifest;
    out.config.media_type = kConfigType;
    out.config.digest = oci::Digest::of(as_bytes("{}"));
    out.config.size = 2;
    out.annotations["mark"] = mark;
    return out;
  }
  static oci::Descriptor describe(std::string_view bytes) {
    oci::Descriptor out;
    out.media_type = "application/octet-stream";
    out.digest = oci::Digest::of(as_bytes(bytes));
    out.size = bytes.size();
    return out;
  }
  // Big enough for several pieces, and no piece like another.
  static std::string pattern(size_t size) {
    std::string out(size, '\0');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 2654435761u >> 13);
    return out;
  }
  Result<std::string> read(const oci::Descriptor& blob) {
    std::string out;
    const auto append = [&](Bytes piece) -> Result<void> {
      out += as_text(piece);
      return {};
    };
    RUNNEL_DO(repository().blob(blob, append));
    return out;
  }

  FakeRegistry registry_;
  net::Client client_;
  Hosts hosts_;  // before the first use of gateway()
  SystemClock clock_;
  std::shared_ptr<CredentialSource> credentials_ = std::make_shared<test::Anonymous>();
  Duration stall_ = 10s;
  Duration small_ = 60s;

 private:
  std::shared_ptr<Gateway> gateway_;
};

}  // namespace runnel::remote
