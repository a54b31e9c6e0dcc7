// A registry in this process, on a free port and a directory of its own, and a client that speaks
// plain HTTP to it.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "net/client.h"
#include "oci/digest.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/registry.h"
#include "support/doubled_registry.h"
#include "support/temp_dir.h"

namespace runnel::test {

struct Answered {
  // The value of a header, or "(none)".
  std::string header(std::string_view name) const {
    return std::string(headers.first(name).value_or("(none)"));
  }

  int status = 0;
  net::Headers headers;
  std::string body;
};

// What a registry keeps its data in.
enum class Stores : uint8_t { kDisk, kSlowMemory };

class RegistryFixture : public testing::Test {
 protected:
  explicit RegistryFixture(Stores stores = Stores::kDisk) : stores_(stores) {
    config_.data = directory_.path() + "/data";
    config_.port = 0;
    start();
  }

  void start() {
    if (stores_ == Stores::kSlowMemory) {
      registry_ = std::make_unique<Running<DoubledRegistry>>(
          std::make_unique<DoubledRegistry>(config_, memory_, clock_));
      return;
    }
    auto started = registry::Registry::start(config_, clock_);
    ASSERT_TRUE(started) << started.error().message;
    registry_ = std::make_unique<Running<registry::Registry>>(*std::move(started));
  }
  void restart() {
    registry_.reset();
    start();
  }

  Answered send(const std::string& method, const std::string& target, std::string_view body = {},
                net::Headers headers = {}) {
    net::ClientRequest request(method,
                               fmt::format("http://127.0.0.1:{}{}", registry_->port(), target));
    request.headers = std::move(headers);
    request.max_redirects = 0;
    if (!body.empty()) request.body = std::string(body);
    auto response = client_.fetch(std::move(request), 64 << 20);
    EXPECT_TRUE(response) << response.error().message;
    if (!response) return {};
    return {response->head.status, std::move(response->head.headers),
            std::string(as_text(response->body))};
  }
  Answered get(const std::string& target, net::Headers headers = {}) {
    return send("GET", target, {}, std::move(headers));
  }

  // Where a blob lies on the disk.
  std::string file_of(const oci::Digest& digest) const {
    return fmt::format("{}/content/blobs/sha256/{}/{}", config_.data, digest.hex().substr(0, 2),
                       digest.hex());
  }

  // The path of a new upload.
  std::string begin(const std::string& repository) {
    const auto answer = send("POST", "/v2/" + repository + "/blobs/uploads/");
    EXPECT_EQ(answer.status, 202);
    return answer.header("Location");
  }

  // Sends these bytes as they are, and closes the connection without waiting for an answer.
  void send_and_close(std::string_view bytes) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(registry_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_TRUE(write_all(socket.get(), as_bytes(bytes)));
  }

  static std::string digest_of(std::string_view bytes) {
    return oci::Digest::of(as_bytes(bytes)).to_string();
  }

  oci::Digest push_blob(const std::string& repository, std::string_view bytes) {
    const auto digest = oci::Digest::of(as_bytes(bytes));
    const auto answer = send("PUT", begin(repository) + "?digest=" + digest.to_string(), bytes);
    EXPECT_EQ(answer.status, 201) << answer.body;
    return digest;
  }

  static oci::Descriptor descriptor(std::string_view content, std::string_view type) {
    oci::Descriptor made;
    made.media_type = type;
    made.digest = oci::Digest::of(as_bytes(content));
    made.size = content.size();
    return made;
  }

  // A manifest of the configuration "{}" and these layers; `note` makes it another one.
  static oci::Manifest image(const std::vector<std::string>& layers, const std::string& note = {}) {
    oci::Manifest made;
    made.media_type = oci::kOciManifest;
    made.config = descriptor("{}", oci::kOciConfig);
    for (const auto& layer : layers) made.layers.push_back(descriptor(layer, oci::kOciLayerGzip));
    if (!note.empty()) made.annotations = {{"note", note}};
    return made;
  }

  Answered put_manifest(const std::string& repository, const std::string& target,
                        const std::string& bytes, const std::string& type) {
    return send("PUT", "/v2/" + repository + "/manifests/" + target, bytes,
                {net::Header("Content-Type", type)});
  }

  // Pushes the manifest with what it needs, under a tag; its bytes.
  std::string push_image(const std::string& repository, const std::string& tag,
                         const std::vector<std::string>& layers, const std::string& note = {}) {
    push_blob(repository, "{}");
    for (const auto& layer : layers) push_blob(repository, layer);
    const auto bytes = oci::to_json(image(layers, note));
    EXPECT_EQ(put_manifest(repository, tag, bytes, std::string(oci::kOciManifest)).status, 201);
    return bytes;
  }

  class Served {
   public:
    virtual ~Served() = default;
    virtual uint16_t port() const = 0;
  };
  template <class Kind>
  class Running final : public Served {
   public:
    explicit Running(std::unique_ptr<Kind> registry) : registry_(std::move(registry)) {}
    uint16_t port() const override { return registry_->port(); }

   private:
    const std::unique_ptr<Kind> registry_;
  };

  const Stores stores_;
  const TempDir directory_;
  const SystemClock clock_;
  MemoryData memory_;
  registry::Config config_;
  std::unique_ptr<Served> registry_;
  net::Client client_;
};

// For suites that run over all stores:
//
//   class Pull : public test::RegistryOverStores {};
//   INSTANTIATE_TEST_SUITE_P(Over, Pull, test::all_stores(), test::name_of_stores);
class RegistryOverStores : public RegistryFixture, public testing::WithParamInterface<Stores> {
 protected:
  RegistryOverStores() : RegistryFixture(GetParam()) {}
};

inline auto all_stores() {
  return testing::Values(Stores::kDisk, Stores::kSlowMemory);
}

inline std::string name_of_stores(const testing::TestParamInfo<Stores>& info) {
  return info.param == Stores::kDisk ? "Disk" : "SlowMemory";
}

}  // namespace runnel::test
