#include "registry/collector.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "blob/directory_store.h"
#include "meta/sqlite_store.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "registry/uploads.h"
#include "support/fake_clock.h"
#include "support/registry_fixture.h"
#include "support/temp_dir.h"
#include "support/watched_blob_store.h"

namespace runnel::registry {
namespace {

oci::Digest digest(std::string_view text) {
  return oci::Digest::of(as_bytes(text));
}

oci::Descriptor descriptor(std::string_view content, std::string_view type) {
  oci::Descriptor made;
  made.media_type = type;
  made.digest = digest(content);
  made.size = content.size();
  return made;
}

// What outlives a process: a directory, or memory that takes its time.
struct Data {
  explicit Data(test::Stores kind) : in_memory(kind == test::Stores::kSlowMemory) {}

  const bool in_memory;
  const test::TempDir directory;
  test::MemoryData memory;
};

std::unique_ptr<blob::BlobStore> own_blobs(const Data& data) {
  if (data.in_memory) return nullptr;
  return blob::DirectoryStore::open(data.directory.path() + "/content").value();
}

std::unique_ptr<meta::MetadataStore> open_metadata(const Data& data, const Clock& clock) {
  if (data.in_memory)
    return std::make_unique<test::MemoryMetadataStore>(data.memory.metadata, clock,
                                                       test::MemoryData::take_time);
  return meta::SqliteStore::open(data.directory.path() + "/metadata.sqlite", clock).value();
}

// A process that works on the data.
struct Process {
  Process(Data& data, const Clock& clock, Duration lifetime)
      : own(own_blobs(data)),
        blobs(own ? own.get() : &data.memory.blobs),
        metadata(open_metadata(data, clock)),
        uploads(*blobs, *metadata, clock, std::chrono::hours(1)),
        collector(*blobs, *metadata, clock, lifetime, std::chrono::days(7)) {}

  Result<void> push(const std::string& repository, std::string_view text) {
    RUNNEL_TRY(const auto upload, uploads.start(repository, ""));
    RUNNEL_TRY(const auto receiving,
               uploads.receive(repository, "", upload.id, oci::Algorithm::kSha256));
    RUNNEL_DO(receiving->append(as_bytes(text)));
    return receiving->finish(digest(text));
  }

  // A manifest that needs the blob; false when the repository does not have that.
  bool put(const std::string& repository, const std::string& name, std::string_view blob) {
    meta::NewManifest made;
    made.digest = digest(name);
    made.media_type = "application/x";
    made.bytes = as_bytes(name);
    made.descriptor.media_type = "application/x";
    made.descriptor.digest = made.digest;
    made.blobs = {digest(blob)};
    return metadata->put_manifest(repository, made)->missing.empty();
  }

  void put(const std::string& repository, const std::string& text) {
    const auto made = new_manifest(as_bytes(text), "", oci::Algorithm::kSha256).value();
    EXPECT_TRUE(metadata->put_manifest(repository, made)->missing.empty());
  }

  bool has(const std::string& repository, std::string_view text) {
    return blobs->size(digest(text)).value() &&
           metadata->blob_size(repository, digest(text)).value();
  }

  const std::unique_ptr<blob::BlobStore> own;
  blob::BlobStore* const blobs;
  const std::unique_ptr<meta::MetadataStore> metadata;
  Uploads uploads;
  Collector collector;
};

// Far in the future: what the test pushes is old as soon as the lifetime is over.
class CollectorTest : public testing::TestWithParam<test::Stores> {
 protected:
  CollectorTest() { clock_.advance(std::chrono::hours(24 * 365 * 50)); }

  Data data_{GetParam()};
  test::FakeClock clock_;
  Process process_{data_, clock_, std::chrono::hours(1)};
};
INSTANTIATE_TEST_SUITE_P(Over, CollectorTest, test::all_stores(), test::name_of_stores);

TEST_P(CollectorTest, RemovesWhatNoManifestNeedsOnceItIsOld) {
  ASSERT_TRUE(process_.push("a", "loose"));
  ASSERT_TRUE(process_.push("a", "needed"));
  ASSERT_TRUE(process_.push("b", "needed"));
  ASSERT_TRUE(process_.put("a", "manifest", "needed"));

  EXPECT_EQ(process_.collector.collect()->blobs, 0u);
  EXPECT_TRUE(process_.has("a", "loose"));
  clock_.advance(std::chrono::hours(2));
  const auto collected = process_.collector.collect().value();

  EXPECT_EQ(collected.links, 2u);
  EXPECT_EQ(collected.blobs, 1u);
  EXPECT_EQ(collected.bytes, 5u);
  EXPECT_FALSE(process_.blobs->size(digest("loose")).value());
  EXPECT_TRUE(process_.has("a", "needed"));
  EXPECT_FALSE(process_.has("b", "needed"));
}

// As BuildKit writes its cache to a registry: an index whose entries are blobs.
TEST_P(CollectorTest, LeavesTheBlobsThatAnIndexNames) {
  oci::Index cache;
  cache.media_type = oci::kOciIndex;
  cache.manifests = {descriptor("layer", oci::kOciLayerZstd),
                     descriptor("cache", "application/vnd.buildkit.cacheconfig.v0")};
  for (const auto* text : {"layer", "cache"}) ASSERT_TRUE(process_.push("a", text));
  process_.put("a", oci::to_json(cache));
  clock_.advance(std::chrono::hours(2));

  EXPECT_EQ(process_.collector.collect()->blobs, 0u);

  EXPECT_TRUE(process_.has("a", "layer"));
  EXPECT_TRUE(process_.has("a", "cache"));
}

TEST_P(CollectorTest, LeavesLayersThatMayLieElsewhereAndWerePushed) {
  oci::Manifest image;
  image.media_type = oci::kOciManifest;
  image.config = descriptor("{}", oci::kOciConfig);
  image.layers = {descriptor("foreign", oci::kDockerForeignLayer),
                  descriptor("with a URL", oci::kOciLayerGzip),
                  descriptor("never pushed", oci::kDockerForeignLayer)};
  image.layers[1].urls = {"https://example.com/layer"};
  for (const auto* text : {"{}", "foreign", "with a URL"}) ASSERT_TRUE(process_.push("a", text));
  process_.put("a", oci::to_json(image));
  clock_.advance(std::chrono::hours(2));

  EXPECT_EQ(process_.collector.collect()->blobs, 0u);

  EXPECT_TRUE(process_.has("a", "foreign"));
  EXPECT_TRUE(process_.has("a", "with a URL"));
}

TEST_P(CollectorTest, RemovesTheBlobsOfADeletedManifest) {
  ASSERT_TRUE(process_.push("a", "layer"));
  ASSERT_TRUE(process_.put("a", "manifest", "layer"));
  clock_.advance(std::chrono::hours(2));
  ASSERT_EQ(process_.collector.collect()->blobs, 0u);

  ASSERT_TRUE(
      process_.metadata->delete_manifest("a", digest("manifest"), meta::Undo::kNever).value());

  EXPECT_EQ(process_.collector.collect()->blobs, 1u);
  EXPECT_EQ(process_.collector.collect()->blobs, 0u);
}

TEST_P(CollectorTest, LeavesABlobThatAClientWasToldItNeedNotPush) {
  ASSERT_TRUE(process_.push("a", "layer"));
  clock_.advance(std::chrono::hours(2));
  ASSERT_TRUE(
      process_.metadata->lease_blob("a", digest("layer"), std::chrono::minutes(30)).value());

  EXPECT_EQ(process_.collector.collect()->blobs, 0u);
  EXPECT_TRUE(process_.put("a", "manifest", "layer"));
}

TEST_P(CollectorTest, RemovesWhatACrashLeftBetweenBlobAndLink) {
  auto writer = process_.blobs->open_upload("id", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("orphan")));
  ASSERT_TRUE(writer->commit(digest("orphan")));

  EXPECT_EQ(process_.collector.collect()->blobs, 0u);
  EXPECT_EQ(process_.collector.sweep()->blobs, 1u);

  EXPECT_FALSE(process_.blobs->size(digest("orphan")).value());
}

TEST_P(CollectorTest, ForgetsDeletionsInTheirTimeAndCollectsTheirBlobs) {
  ASSERT_TRUE(process_.push("a", "layer"));
  ASSERT_TRUE(process_.put("a", "manifest", "layer"));
  ASSERT_TRUE(
      process_.metadata->delete_manifest("a", digest("manifest"), meta::Undo::kPossible).value());

  clock_.advance(std::chrono::days(6));
  EXPECT_EQ(process_.collector.collect()->deletions, 0u);
  EXPECT_TRUE(process_.has("a", "layer"));
  clock_.advance(std::chrono::days(2));
  const auto collected = process_.collector.collect().value();

  EXPECT_EQ(collected.deletions, 1u);
  EXPECT_EQ(collected.blobs, 1u);
}

TEST_P(CollectorTest, CanKeepDeletionsWhoseTimeIsOverAndCollectTheRest) {
  ASSERT_TRUE(process_.push("a", "deleted"));
  ASSERT_TRUE(process_.put("a", "manifest", "deleted"));
  ASSERT_TRUE(process_.push("a", "loose"));
  ASSERT_TRUE(
      process_.metadata->delete_manifest("a", digest("manifest"), meta::Undo::kPossible).value());
  clock_.advance(std::chrono::days(8));

  const auto collected = process_.collector.collect({}, Collector::OldDeletions::kKeep).value();

  EXPECT_EQ(collected.deletions, 0u);
  EXPECT_EQ(collected.blobs, 1u);
  EXPECT_TRUE(process_.has("a", "deleted"));
  EXPECT_FALSE(process_.has("a", "loose"));
  EXPECT_EQ(process_.collector.collect()->deletions, 1u);
}

TEST_P(CollectorTest, CostsWhatChangedAndNotWhatIsStored) {
  test::WatchedBlobStore watched(*process_.blobs);
  Collector collector(watched, *process_.metadata, clock_, std::chrono::hours(1),
                      std::chrono::days(7));
  for (int i = 0; i < 20; ++i) {
    const auto text = fmt::format("layer {}", i);
    ASSERT_TRUE(process_.push("a", text));
    ASSERT_TRUE(process_.put("a", fmt::format("manifest {}", i), text));
  }
  clock_.advance(std::chrono::hours(2));
  ASSERT_TRUE(collector.collect());
  ASSERT_TRUE(
      process_.metadata->delete_manifest("a", digest("manifest 7"), meta::Undo::kNever).value());
  watched.calls = 0;

  EXPECT_EQ(collector.collect()->blobs, 1u);
  EXPECT_EQ(watched.calls, 2);  // it looked for that one blob, and removed it
  EXPECT_EQ(collector.collect()->blobs, 0u);
  EXPECT_EQ(watched.calls, 2);
}

// A blob that lost its last link, pushed again in the very moment in which it is collected.
class CollectorRace : public CollectorTest {
 protected:
  CollectorRace() {
    EXPECT_TRUE(process_.push("a", "layer"));
    EXPECT_TRUE(process_.metadata->unlink_blob("a", digest("layer")));
    clock_.advance(std::chrono::hours(2));
  }

  test::WatchedBlobStore watched_{*process_.blobs};
  Collector collector_{watched_, *process_.metadata, clock_, std::chrono::hours(1),
                       std::chrono::days(7)};
  Process other_{data_, clock_, std::chrono::hours(1)};
};
INSTANTIATE_TEST_SUITE_P(Over, CollectorRace, test::all_stores(), test::name_of_stores);

TEST_P(CollectorRace, APushThatEndsBeforeTheRemovalKeepsItsBlob) {
  watched_.after_find = [&] { ASSERT_TRUE(other_.push("b", "layer")); };

  EXPECT_EQ(collector_.collect()->blobs, 0u);

  EXPECT_TRUE(other_.has("b", "layer"));
}

TEST_P(CollectorRace, APushThatComesTooLateIsToldSo) {
  test::WatchedBlobStore pushed_to(*other_.blobs);
  Uploads uploads(pushed_to, *other_.metadata, clock_, std::chrono::hours(1));
  const auto upload = uploads.start("b", "").value();
  const auto receiving = uploads.receive("b", "", upload.id, oci::Algorithm::kSha256).value();
  ASSERT_TRUE(receiving->append(as_bytes("layer")));
  std::promise<void> committed;
  pushed_to.after_commit = [&] { committed.set_value(); };
  Result<void> outcome;
  std::thread pusher;
  // The push's bytes are in place before the removal, its link cannot come before its end.
  watched_.before_remove = [&] {
    pusher = std::thread([&] { outcome = receiving->finish(digest("layer")); });
    committed.get_future().wait();
  };

  EXPECT_EQ(collector_.collect()->blobs, 1u);
  pusher.join();

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kUnavailable);
  EXPECT_FALSE(other_.metadata->blob_size("b", digest("layer")).value());
  EXPECT_TRUE(other_.push("b", "layer"));
  EXPECT_TRUE(other_.has("b", "layer"));
}

// Pushes and deletes images of the same few blobs again and again, in repositories of its own.
void push_and_delete(Process& process, const std::string& repository, std::atomic<int>& broken) {
  for (int i = 0; i < 40; ++i) {
    const auto blob = fmt::format("blob {}", i % 3);
    const auto name = fmt::format("manifest {}", i);
    // What is pushed can be collected at once here, so a client has to try again.
    while (!process.push(repository, blob) || !process.put(repository, name, blob)) continue;
    for (int look = 0; look < 3; ++look)
      if (!process.has(repository, blob)) ++broken;
    if (!process.metadata->delete_manifest(repository, digest(name), meta::Undo::kNever).value())
      ++broken;
  }
}

class CollectorAtOnce : public testing::TestWithParam<test::Stores> {};
INSTANTIATE_TEST_SUITE_P(Over, CollectorAtOnce, test::all_stores(), test::name_of_stores);

TEST_P(CollectorAtOnce, NeverTakesABlobThatAManifestNeeds) {
  Data data(GetParam());
  test::FakeClock clock;
  clock.advance(std::chrono::hours(24 * 365 * 50));
  Process one(data, clock, Duration(-1'000'000'000));  // everything is old
  Process other(data, clock, Duration(-1'000'000'000));
  std::atomic<int> broken = 0;
  std::atomic<bool> done = false;
  std::atomic<size_t> removed = 0;

  std::vector<std::thread> pushers;
  pushers.emplace_back([&] { push_and_delete(one, "a", broken); });
  pushers.emplace_back([&] { push_and_delete(other, "b", broken); });
  std::thread collector([&] {
    while (!done) removed += other.collector.collect().value().blobs;
  });
  for (auto& pusher : pushers) pusher.join();
  done = true;
  collector.join();

  EXPECT_EQ(broken, 0);
  EXPECT_GT(removed, 0u);
}

}  // namespace
}  // namespace runnel::registry
