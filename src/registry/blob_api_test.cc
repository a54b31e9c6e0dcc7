// Blobs of stores that have no files: streamed, or to be had elsewhere.
#include "registry/blob_api.h"

#include <gtest/gtest.h>

#include "meta/sqlite_store.h"
#include "net/client.h"
#include "registry/api.h"
#include "support/memory_blob_store.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

// The API over a store in memory.
class Served {
 public:
  explicit Served(std::unique_ptr<test::MemoryBlobStore> blobs)
      : blobs_(std::move(blobs)),
        metadata_(meta::SqliteStore::open(directory_.path() + "/metadata.sqlite", clock_).value()),
        server_(net::Server::listen({}, api_).value()) {}

  // Pushes it; its digest.
  oci::Digest push(std::string_view bytes) {
    const auto digest = oci::Digest::of(as_bytes(bytes));
    const auto pushed = send("POST", "uploads/?digest=" + digest.to_string(), bytes);
    EXPECT_EQ(pushed.head.status, 201);
    return digest;
  }

  net::BufferedResponse send(const std::string& method, const std::string& target,
                             std::string_view body = {}, net::Headers headers = {}) {
    net::ClientRequest request(
        method, fmt::format("http://127.0.0.1:{}/v2/a/blobs/{}", server_->port(), target));
    request.headers = std::move(headers);
    request.max_redirects = 0;
    if (!body.empty()) request.body = std::string(body);
    return client_.fetch(std::move(request), 16 << 20).value();
  }

  test::MemoryBlobStore& blobs() { return *blobs_; }

 private:
  const test::TempDir directory_;
  const SystemClock clock_;
  const Config config_;
  const std::unique_ptr<test::MemoryBlobStore> blobs_;
  const std::unique_ptr<meta::SqliteStore> metadata_;
  Uploads uploads_{*blobs_, *metadata_, clock_, std::chrono::hours(1)};
  WorkerPool readers_{2};
  WorkerPool writers_{2};
  Services services_{config_, *blobs_, *metadata_, uploads_, nullptr, clock_, readers_, writers_};
  Api api_{services_};
  const std::unique_ptr<net::Server> server_;
  net::Client client_;
};

TEST(StreamedBlob, ComesWholeAndInRanges) {
  Served served(std::make_unique<test::MemoryBlobStore>());
  std::string large(3'000'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 + i / 777);
  const auto digest = served.push(large).to_string();

  const auto whole = served.send("GET", digest);
  const auto part = served.send("GET", digest, {}, {net::Header("Range", "bytes=1000-2500000")});
  const auto head = served.send("HEAD", digest);

  EXPECT_EQ(whole.head.status, 200);
  EXPECT_EQ(as_text(whole.body), large);
  EXPECT_EQ(part.head.status, 206);
  EXPECT_EQ(as_text(part.body), std::string_view(large).substr(1000, 2'499'001));
  EXPECT_EQ(head.head.headers.first("Content-Length"), "3000000");
}

TEST(StreamedBlob, ThatIsEmptyComesToo) {
  Served served(std::make_unique<test::MemoryBlobStore>());
  const auto digest = served.push("").to_string();

  const auto whole = served.send("GET", digest);

  EXPECT_EQ(whole.head.status, 200);
  EXPECT_TRUE(whole.body.empty());
}

TEST(RedirectedBlob, IsToBeHadElsewhereButDescribedHere) {
  Served served(std::make_unique<test::MemoryBlobStore>("https://store.example/"));
  const auto digest = served.push("bytes").to_string();

  const auto got = served.send("GET", digest);
  const auto head = served.send("HEAD", digest);

  EXPECT_EQ(got.head.status, 307);
  EXPECT_EQ(got.head.headers.first("Location"), "https://store.example/" + digest);
  EXPECT_EQ(head.head.status, 200);
  EXPECT_EQ(head.head.headers.first("Content-Length"), "5");
  EXPECT_EQ(head.head.headers.first("Docker-Content-Digest"), digest);
}

TEST(LinkedBlob, ThatTheStoreHasLostCountsAsAbsentUntilItIsPushedAgain) {
  Served served(std::make_unique<test::MemoryBlobStore>());
  const auto digest = served.push("bytes");
  ASSERT_TRUE(served.blobs().remove(digest).value());

  EXPECT_EQ(served.send("HEAD", digest.to_string()).head.status, 404);
  served.push("bytes");

  EXPECT_EQ(served.send("HEAD", digest.to_string()).head.status, 200);
}

}  // namespace
}  // namespace runnel::registry
