// SIGKILL and power loss at every step of pushes, deletions and collections.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <set>

#include "base/fd.h"
#include "blob/directory_store.h"
#include "meta/sqlite.h"
#include "meta/sqlite_store.h"
#include "registry/collector.h"
#include "registry/fsck.h"
#include "registry/held_tags.h"
#include "registry/uploads.h"
#include "support/crash_states.h"
#include "support/fake_clock.h"

namespace runnel::registry {
namespace {

constexpr auto kLifetime = std::chrono::hours(1);
constexpr SoftDeletePolicy kSoftDelete{
    .enabled = true, .kept = std::chrono::days(7), .updated = {}};

oci::Digest digest(std::string_view text) {
  return oci::Digest::of(as_bytes(text));
}

// A tag that waits when it is pushed.
constexpr const char* kHeld = "held";

struct Machine {
  explicit Machine(const std::string& data) {
    clock.advance(std::chrono::hours(24 * 365 * 50));
    blobs = blob::DirectoryStore::open(data + "/content").value();
    metadata = meta::SqliteStore::open(data + "/metadata.sqlite", clock).value();
    uploads.emplace(*blobs, *metadata, clock, kLifetime);
  }

  // In two requests.
  void push_blob(std::string_view text) {
    const auto upload = uploads->start("a", "").value();
    {
      const auto first = uploads->receive("a", "", upload.id, oci::Algorithm::kSha256).value();
      RUNNEL_CHECK(first->append(as_bytes(text.substr(0, 2))).has_value());
      RUNNEL_CHECK(first->keep().has_value());
    }
    const auto second = uploads->receive("a", "", upload.id, oci::Algorithm::kSha256).value();
    RUNNEL_CHECK(second->append(as_bytes(text.substr(2))).has_value());
    RUNNEL_CHECK(second->finish(digest(text)).has_value());
  }

  void put_manifest(std::string_view text, std::string_view blob, const std::string& tag) {
    meta::NewManifest made;
    made.digest = digest(text);
    made.media_type = "application/x";
    made.bytes = as_bytes(text);
    made.descriptor.media_type = "application/x";
    made.descriptor.digest = made.digest;
    made.blobs = {digest(blob)};
    made.tags = {tag};
    made.undo = meta::Undo::kPossible;
    if (tag == kHeld) hold_tags(made, "a", clock.wall(), kLifetime);
    RUNNEL_CHECK(metadata->put_manifest("a", made)->missing.empty());
  }

  void release_tags(std::string_view text) {
    RUNNEL_CHECK(HeldTags(*metadata, clock, kSoftDelete).release("a", digest(text)).has_value());
  }

  int64_t last_deletion() {
    return metadata->deletions("a", std::numeric_limits<int64_t>::max(), 1)->at(0).id;
  }

  test::FakeClock clock;
  std::unique_ptr<blob::DirectoryStore> blobs;
  std::unique_ptr<meta::SqliteStore> metadata;
  std::optional<Uploads> uploads;
};

// Says of blobs ("B"), manifests ("M"), the tag ("T") and the held one ("H", "A or B" when it is
// not known of which) what was acknowledged, and takes it back before it changes it.
void live(const std::string& data, const test::CrashStates::Say& say) {
  Machine machine(data);
  machine.push_blob("layer one");
  say("+Blayer one");
  machine.put_manifest("one", "layer one", "v");
  say("+Mone");
  say("+Tone");
  machine.push_blob("layer two");
  say("+Blayer two");
  say("-Tone");
  machine.put_manifest("two", "layer two", "v");
  say("+Mtwo");
  say("+Ttwo");
  machine.put_manifest("one", "layer one", kHeld);
  say("+Hone");
  say("+Hone or two");
  say("-Hone");
  machine.put_manifest("two", "layer two", kHeld);
  say("+Htwo");
  machine.release_tags("two");
  say("-Mone");
  RUNNEL_CHECK(
      machine.metadata->delete_manifest("a", digest("one"), meta::Undo::kPossible).value());
  RUNNEL_CHECK(machine.metadata->restore(machine.last_deletion())->has_value());
  say("+Mone");
  say("-Mone");
  say("-Blayer one");
  RUNNEL_CHECK(machine.metadata->delete_manifest("a", digest("one"), meta::Undo::kNever).value());
  machine.clock.advance(std::chrono::hours(2));
  Collector collector(*machine.blobs, *machine.metadata, machine.clock, kLifetime,
                      std::chrono::days(7));
  RUNNEL_CHECK(collector.collect()->blobs == 1);
  machine.push_blob("layer one");
  say("+Blayer one");
  say("+end");
}

void check_said(Machine& machine, const std::string& said) {
  const auto text = std::string_view(said).substr(1);
  if (said[0] == 'B') {
    EXPECT_EQ(machine.blobs->size(digest(text)).value(), text.size()) << said;
    EXPECT_EQ(machine.metadata->blob_size("a", digest(text)).value(), text.size()) << said;
  } else if (said[0] == 'M' || said[0] == 'T') {
    const auto name = said[0] == 'M' ? meta::ManifestName(digest(text)) : meta::ManifestName("v");
    const auto found = machine.metadata->manifest("a", name).value();
    EXPECT_EQ(found ? found->bytes : "absent", text) << said;
  } else if (said[0] == 'H') {
    for (const auto* const each : {"one", "two"}) machine.release_tags(each);
    const auto found = machine.metadata->manifest("a", kHeld).value();
    ASSERT_TRUE(found) << said;
    EXPECT_TRUE(text.contains(found->bytes)) << said << ": " << found->bytes;
  }
}

void check_database(const std::string& data) {
  auto connection =
      meta::Connection::open(data + "/metadata.sqlite", meta::Connection::Durability::kEveryCommit)
          .value();
  auto integrity = connection->query("PRAGMA integrity_check").value();
  ASSERT_TRUE(integrity.next().value());
  EXPECT_EQ(integrity.text(0), "ok");
  auto dangling = connection->query("PRAGMA foreign_key_check").value();
  EXPECT_FALSE(dangling.next().value());
}

// Whatever is named like a blob is that blob, linked or not.
void check_blobs(blob::DirectoryStore& blobs) {
  for (const auto& stored : blobs.list({}, 100).value()) {
    const auto content = blobs.open(stored.digest).value();
    ASSERT_TRUE(content);
    Buffer bytes(stored.size);
    ASSERT_TRUE(
        read_exact_at(std::get<blob::FileContent>(*content).file->get(), bytes, 0).has_value());
    EXPECT_EQ(oci::Digest::of(bytes), stored.digest);
  }
}

// Nothing but what the data directory is to have: temporary files have other names.
void check_names(const std::string& data) {
  const std::set<std::string> known = {"metadata.sqlite", "metadata.sqlite-wal",
                                       "metadata.sqlite-shm", "layout"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data)) {
    if (!entry.is_regular_file()) continue;
    const auto name = entry.path().filename().string();
    const bool is_blob = entry.path().string().contains("/content/blobs/") && name.size() == 64 &&
                         name.find_first_not_of("0123456789abcdef") == std::string::npos;
    EXPECT_TRUE(is_blob || known.contains(name)) << entry.path();
  }
}

// As a registry that starts again: what is acknowledged is there, nothing is damaged, no bytes of
// uploads stay once they have expired, and a check has nothing to say.
void check_after(const std::string& data, const std::set<std::string>& said) {
  Machine machine(data);
  for (const auto& each : said) check_said(machine, each);
  machine.clock.advance(std::chrono::hours(5));
  ASSERT_TRUE(machine.uploads->clean());
  EXPECT_TRUE(machine.blobs->uploads()->empty());
  check_blobs(*machine.blobs);
  check_database(data);
  const auto checked = fsck(*machine.blobs, *machine.metadata, false).value();
  for (const auto& each : checked.findings) ADD_FAILURE() << each.what;
  check_names(data);
}

TEST(RegistryCrash, LosesNothingAtAnyStepByKillOrPowerLoss) {
  test::CrashStates states;
  if (!states.possible()) GTEST_SKIP() << "needs tmpfs at /dev/shm, and ptrace(2)";

  const auto checked = states.run(live, check_after);

  EXPECT_GT(checked, 100u);
  RecordProperty("states", static_cast<int>(checked));
}

}  // namespace
}  // namespace runnel::registry
