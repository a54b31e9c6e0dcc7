#include "snapshot/snapshotter.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <thread>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

// Streams the chains that the test names.
class FakeStreaming final : public Streaming {
 public:
  Result<bool> offer(const std::string& chain_id, const std::string& parent_chain,
                     const Labels&) override {
    ++offers;
    last_parent = parent_chain;
    if (while_offered) while_offered();
    if (!offered) return offered;
    return chains.contains(chain_id);
  }
  Result<std::string> mount(const std::string& chain_id) override {
    if (!chains.contains(chain_id)) return fail(Code::kNotFound, "no {}", chain_id);
    RUNNEL_DO(make_directories(path(chain_id)));
    return path(chain_id);
  }
  void idle(const std::string& chain_id) override {
    std::filesystem::remove(path(chain_id));
    idled.push_back(chain_id);
  }
  void forget(const std::string& chain_id) override { forgotten.push_back(chain_id); }
  Result<Usage> usage(const std::string&) override { return Usage{.bytes = 77, .inodes = 0}; }

  std::string path(const std::string& chain_id) const {
    return root_.path() + "/" + chain_id.substr(chain_id.find(':') + 1);
  }

  std::set<std::string> chains;
  std::vector<std::string> idled;
  std::vector<std::string> forgotten;
  std::string last_parent;
  std::function<void()> while_offered;
  Result<bool> offered = true;  // an error: that is the answer
  int offers = 0;

 private:
  test::TempDir root_;
};

class SnapshotterTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    snapshotter_.reset();
    store_.reset();  // one at a time has the database
    store_ = Store::open(dir_.path() + "/snapshots.db", clock_).value();
    snapshotter_ = Snapshotter::open(dir_.path(), *store_, streaming_).value();
  }

  Labels target(const std::string& chain_id) { return {{kTargetLabel, chain_id}}; }

  std::string layer(const std::string& name, const std::string& parent) {
    EXPECT_TRUE(snapshotter_->prepare(name + "-active", parent, {}));
    EXPECT_TRUE(snapshotter_->commit(name + "-active", name, {}));
    return name;
  }

  static std::string option(const Mount& mount, const std::string& prefix) {
    for (const auto& each : mount.options) {
      if (each.starts_with(prefix)) return each.substr(prefix.size());
    }
    return "";
  }

  test::TempDir dir_;
  SystemClock clock_;
  FakeStreaming streaming_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Snapshotter> snapshotter_;
};

TEST_F(SnapshotterTest, BindsTheFirstLayerAndOverlaysTheNext) {
  const auto first = snapshotter_->prepare("a", "", {}).value();
  ASSERT_TRUE(snapshotter_->commit("a", "A", {}));
  const auto second = snapshotter_->prepare("b", "A", {}).value();

  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].type, "bind");
  EXPECT_EQ(first[0].options, (std::vector<std::string>{"rw", "rbind"}));
  EXPECT_EQ(second[0].type, "overlay");
  EXPECT_EQ(option(second[0], "lowerdir="), first[0].source);
  EXPECT_TRUE(std::filesystem::is_directory(option(second[0], "upperdir=")));
  EXPECT_TRUE(std::filesystem::is_directory(option(second[0], "workdir=")));
}

TEST_F(SnapshotterTest, ListsLowerLayersFromTheUppermostDown) {
  layer("C", layer("B", layer("A", "")));

  const auto mounts = snapshotter_->view("v", "C", {}).value();

  const auto lower = option(mounts[0], "lowerdir=");
  EXPECT_EQ(std::ranges::count(lower, ':'), 2);
  EXPECT_LT(lower.find("/3/"), lower.find("/1/"));
  EXPECT_EQ(option(mounts[0], "upperdir="), "");
}

TEST_F(SnapshotterTest, GivesANewUpperDirectoryItsParentsOwner) {
  const auto first = snapshotter_->prepare("a", "", {}).value();
  ASSERT_EQ(::chown(first[0].source.c_str(), 5, 6), 0);
  ASSERT_TRUE(snapshotter_->commit("a", "A", {}));

  const auto second = snapshotter_->prepare("b", "A", {}).value();

  struct stat info;
  ASSERT_EQ(::stat(option(second[0], "upperdir=").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 5u);
  EXPECT_EQ(info.st_gid, 6u);
}

TEST_F(SnapshotterTest, SaysThatAStreamedChainExistsAndLetsContainerdFindIt) {
  streaming_.chains = {"sha256:one"};

  const auto prepared = snapshotter_->prepare("key", "", target("sha256:one"));

  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kExists);
  const auto found =
      snapshotter_->list({R"(labels."containerd.io/snapshot.ref"==sha256:one,parent=="")"}).value();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, Kind::kCommitted);
  EXPECT_EQ(snapshotter_->stat("key").error().code, Code::kNotFound);
  EXPECT_EQ(snapshotter_->usage(found[0].name)->bytes, 77u);
}

TEST_F(SnapshotterTest, OffersAChainOnceForAParent) {
  streaming_.chains = {"sha256:one"};

  EXPECT_EQ(snapshotter_->prepare("k1", "", target("sha256:one")).error().code, Code::kExists);
  EXPECT_EQ(snapshotter_->prepare("k2", "", target("sha256:one")).error().code, Code::kExists);

  EXPECT_EQ(streaming_.offers, 1);
  EXPECT_EQ(snapshotter_->list({})->size(), 1u);
}

TEST_F(SnapshotterTest, KeepsOneChainOnTwoParentsApart) {
  streaming_.chains = {"sha256:two"};
  layer("ns1/base", "");
  layer("ns2/base", "");

  EXPECT_FALSE(snapshotter_->prepare("k1", "ns1/base", target("sha256:two")));
  EXPECT_FALSE(snapshotter_->prepare("k2", "ns2/base", target("sha256:two")));

  for (const std::string parent : {"ns1/base", "ns2/base"}) {
    const auto filter =
        fmt::format(R"(labels."containerd.io/snapshot.ref"==sha256:two,parent=="{}")", parent);
    EXPECT_EQ(snapshotter_->list({filter})->size(), 1u) << parent;
  }
}

TEST_F(SnapshotterTest, TakesTheOrdinaryWayWhenTheChainDoesNotStream) {
  const auto mounts = snapshotter_->prepare("key", "", target("sha256:one"));

  ASSERT_TRUE(mounts);
  EXPECT_EQ((*mounts)[0].type, "bind");
}

TEST_F(SnapshotterTest, WaitsForAnotherCallAboutAChainForABoundedTime) {
  snapshotter_.reset();
  snapshotter_ =
      Snapshotter::open(dir_.path(), *store_, streaming_, std::chrono::milliseconds(1)).value();
  streaming_.chains = {"sha256:one"};
  std::promise<void> asked;
  std::promise<void> answer;
  streaming_.while_offered = [&] {
    asked.set_value();
    answer.get_future().wait();
  };
  std::thread slow([&] {
    EXPECT_EQ(snapshotter_->prepare("k1", "", target("sha256:one")).error().code, Code::kExists);
  });
  asked.get_future().wait();

  const auto hasty = snapshotter_->prepare("k2", "", target("sha256:one"));
  EXPECT_EQ(hasty.error().code, Code::kUnavailable);

  answer.set_value();
  slow.join();
  EXPECT_EQ(snapshotter_->prepare("k2", "", target("sha256:one")).error().code, Code::kExists);
}

TEST_F(SnapshotterTest, FailsInsteadOfTheOrdinaryWayWhenTheProcessEnds) {
  streaming_.offered = fail(Code::kCancelled, "the node stops");

  EXPECT_EQ(snapshotter_->prepare("key", "", target("sha256:one")).error().code,
            Code::kUnavailable);
  EXPECT_EQ(snapshotter_->stat("key").error().code, Code::kNotFound);

  streaming_.offered = fail(Code::kUnavailable, "the network is down");
  EXPECT_TRUE(snapshotter_->prepare("key", "", target("sha256:one")));
}

TEST_F(SnapshotterTest, PutsAContainerOnTheStreamedMount) {
  streaming_.chains = {"sha256:one", "sha256:two"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  (void)snapshotter_->prepare("k2", "sha256:one", target("sha256:two"));
  EXPECT_EQ(streaming_.last_parent, "sha256:one");

  const auto container = snapshotter_->prepare("c", "sha256:two", {}).value();
  const auto view = snapshotter_->view("v", "sha256:one", {}).value();

  EXPECT_EQ(option(container[0], "lowerdir="), streaming_.path("sha256:two"));
  EXPECT_EQ(view[0].type, "bind");
  EXPECT_EQ(view[0].source, streaming_.path("sha256:one"));
  EXPECT_EQ(view[0].options, (std::vector<std::string>{"ro", "rbind"}));
}

TEST_F(SnapshotterTest, MixesStreamedAndOrdinaryParentsBothWays) {
  streaming_.chains = {"sha256:one", "sha256:three"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  layer("ordinary", "sha256:one");
  (void)snapshotter_->prepare("k3", "ordinary", target("sha256:three"));

  const auto on_ordinary = snapshotter_->prepare("c1", "ordinary", {}).value();
  const auto on_streamed = snapshotter_->prepare("c2", "sha256:three", {}).value();

  EXPECT_TRUE(
      option(on_ordinary[0], "lowerdir=").ends_with("/fs:" + streaming_.path("sha256:one")));
  EXPECT_EQ(option(on_streamed[0], "lowerdir="), streaming_.path("sha256:three"));
}

TEST_F(SnapshotterTest, TellsWhenAChainIsIdleAndWhenItIsForgotten) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  ASSERT_TRUE(snapshotter_->prepare("c1", "sha256:one", {}));
  ASSERT_TRUE(snapshotter_->view("c2", "sha256:one", {}));

  ASSERT_TRUE(snapshotter_->remove("c1"));
  EXPECT_TRUE(streaming_.idled.empty());
  ASSERT_TRUE(snapshotter_->remove("c2"));
  EXPECT_EQ(streaming_.idled, std::vector<std::string>{"sha256:one"});
  EXPECT_TRUE(streaming_.forgotten.empty());
  ASSERT_TRUE(snapshotter_->remove("sha256:one"));
  EXPECT_EQ(streaming_.forgotten, std::vector<std::string>{"sha256:one"});
}

// Who said yes would keep the image for a snapshot that there never was.
TEST_F(SnapshotterTest, ForgetsAnOfferThatNoSnapshotCameOf) {
  streaming_.chains = {"sha256:two"};
  layer("base", "");
  streaming_.while_offered = [&] { ASSERT_TRUE(snapshotter_->remove("base")); };

  EXPECT_EQ(snapshotter_->prepare("k", "base", target("sha256:two")).error().code, Code::kNotFound);

  EXPECT_EQ(streaming_.forgotten, std::vector<std::string>{"sha256:two"});
}

TEST_F(SnapshotterTest, ForgetsNoOfferOfAChainThatASnapshotHas) {
  streaming_.chains = {"sha256:two"};
  layer("base", "");
  layer("other", "");
  (void)snapshotter_->prepare("k1", "other", target("sha256:two"));
  streaming_.while_offered = [&] { ASSERT_TRUE(snapshotter_->remove("base")); };

  EXPECT_EQ(snapshotter_->prepare("k2", "base", target("sha256:two")).error().code,
            Code::kNotFound);

  EXPECT_TRUE(streaming_.forgotten.empty());
}

TEST_F(SnapshotterTest, TellsWhichChainsAreIdleWhenItStarts) {
  streaming_.chains = {"sha256:one", "sha256:two", "sha256:three"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  (void)snapshotter_->prepare("k2", "sha256:one", target("sha256:two"));
  (void)snapshotter_->prepare("k3", "", target("sha256:three"));
  layer("ordinary", "sha256:two");
  ASSERT_TRUE(snapshotter_->prepare("c1", "ordinary", {}));
  streaming_.idled.clear();

  open();

  EXPECT_EQ(streaming_.idled, (std::vector<std::string>{"sha256:one", "sha256:three"}));
}

TEST_F(SnapshotterTest, LeavesNothingOfASnapshotThatCannotBeMounted) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  streaming_.chains.clear();

  EXPECT_FALSE(snapshotter_->prepare("c", "sha256:one", {}));

  EXPECT_EQ(snapshotter_->stat("c").error().code, Code::kNotFound);
}

TEST_F(SnapshotterTest, ReportsFailuresBelowUnderCodesThatAreNoAnswers) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  ASSERT_TRUE(snapshotter_->prepare("c", "sha256:one", {}));
  const auto lost = snapshotter_->prepare("lost", "", {}).value();
  std::filesystem::remove_all(lost[0].source);
  streaming_.chains.clear();

  // The fake's mount says "not found"; containerd would believe that it means the snapshot.
  EXPECT_EQ(snapshotter_->mounts("c").error().code, Code::kUnavailable);
  EXPECT_EQ(snapshotter_->prepare("d", "sha256:one", {}).error().code, Code::kUnavailable);
  EXPECT_EQ(snapshotter_->mounts("lost").error().code, Code::kUnavailable);
  EXPECT_EQ(snapshotter_->commit("lost", "L", {}).error().code, Code::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(lost[0].source));
}

TEST_F(SnapshotterTest, TellsStreamingTheChainOfAnOrdinaryParent) {
  layer("k8s.io/12/sha256:below", "");

  EXPECT_TRUE(snapshotter_->prepare("k", "k8s.io/12/sha256:below", target("sha256:above")));

  EXPECT_EQ(streaming_.last_parent, "sha256:below");
}

TEST_F(SnapshotterTest, OffersNothingOnAParentThatCannotBeOne) {
  streaming_.chains = {"sha256:one"};
  ASSERT_TRUE(snapshotter_->prepare("active", "", {}));

  EXPECT_EQ(snapshotter_->prepare("k", "absent", target("sha256:one")).error().code,
            Code::kNotFound);
  EXPECT_EQ(snapshotter_->prepare("k", "active", target("sha256:one")).error().code,
            Code::kInvalid);
  EXPECT_EQ(streaming_.offers, 0);
}

TEST_F(SnapshotterTest, GivesANewUpperDirectoryTheStreamedRootsOwner) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  const auto root = streaming_.mount("sha256:one").value();
  ASSERT_EQ(::chown(root.c_str(), 7, 8), 0);

  const auto mounts = snapshotter_->prepare("c", "sha256:one", {}).value();

  struct stat info;
  ASSERT_EQ(::stat(option(mounts[0], "upperdir=").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 7u);
  EXPECT_EQ(info.st_gid, 8u);
}

TEST_F(SnapshotterTest, RefusesARootThatOverlayOptionsCannotCarry) {
  for (const std::string name : {"a:b", "a,b", "a\\b"}) {
    const auto opened = Snapshotter::open(dir_.path() + "/" + name, *store_, streaming_);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Code::kInvalid);
  }
}

TEST_F(SnapshotterTest, NeverFindsAChainIdleThatANewContainerIsOn) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));

  const auto churn = [&](const std::string& name) {
    for (int i = 0; i < 100; ++i) {
      const auto mounts = snapshotter_->prepare(name, "sha256:one", {});
      ASSERT_TRUE(mounts) << mounts.error().message;
      EXPECT_TRUE(std::filesystem::is_directory(option((*mounts)[0], "lowerdir=")));
      ASSERT_TRUE(snapshotter_->remove(name));
    }
  };
  std::thread one([&] { churn("one"); });
  std::thread two([&] { churn("two"); });
  one.join();
  two.join();

  EXPECT_FALSE(std::filesystem::exists(streaming_.path("sha256:one")));  // idle at the end
}

TEST_F(SnapshotterTest, CleansUpBesideNewSnapshotsWithoutHarmingThem) {
  std::atomic<bool> stop = false;
  std::thread cleaner([&] {
    while (!stop) EXPECT_TRUE(snapshotter_->cleanup());
  });
  for (int i = 0; i < 100; ++i) {
    const auto mounts = snapshotter_->prepare(fmt::format("a{}", i), "", {}).value();
    EXPECT_TRUE(std::filesystem::is_directory(mounts[0].source));
  }
  stop = true;
  cleaner.join();

  for (int i = 0; i < 100; ++i) EXPECT_TRUE(snapshotter_->mounts(fmt::format("a{}", i)));
}

TEST_F(SnapshotterTest, FollowsContainerdsRulesForParentsNamesAndChildren) {
  EXPECT_EQ(snapshotter_->prepare("a", "absent", {}).error().code, Code::kNotFound);
  ASSERT_TRUE(snapshotter_->prepare("a", "", {}));
  EXPECT_EQ(snapshotter_->prepare("a", "", {}).error().code, Code::kExists);
  EXPECT_EQ(snapshotter_->prepare("b", "a", {}).error().code, Code::kInvalid);
  layer("A", "");
  EXPECT_EQ(snapshotter_->commit("a", "A", {}).error().code, Code::kExists);
  ASSERT_TRUE(snapshotter_->view("v", "A", {}));
  EXPECT_EQ(snapshotter_->commit("v", "V", {}).error().code, Code::kConflict);
  EXPECT_EQ(snapshotter_->remove("A").error().code, Code::kConflict);
  EXPECT_EQ(snapshotter_->mounts("A").error().code, Code::kConflict);
  EXPECT_EQ(snapshotter_->remove("absent").error().code, Code::kNotFound);
}

TEST_F(SnapshotterTest, UpdatesOnlyTheLabelsThatTheMaskNames) {
  ASSERT_TRUE(snapshotter_->prepare("a", "", {{"keep", "1"}, {"change", "1"}, {"drop", "1"}}));
  Info wanted;
  wanted.name = "a";
  wanted.labels = {{"change", "2"}, {"keep", "ignored"}};

  const auto updated = snapshotter_->update(wanted, {"labels.change", "labels.drop"});

  EXPECT_EQ(updated->labels, (Labels{{"keep", "1"}, {"change", "2"}}));
  EXPECT_EQ(snapshotter_->update(wanted, {"labels"})->labels, wanted.labels);
  EXPECT_EQ(snapshotter_->update(wanted, {"parent"}).error().code, Code::kInvalid);
}

TEST_F(SnapshotterTest, KeepsEverythingOverARestartAndRemovesWhatNobodyOwns) {
  streaming_.chains = {"sha256:one"};
  (void)snapshotter_->prepare("k1", "", target("sha256:one"));
  const auto before = snapshotter_->prepare("c", "sha256:one", {{"x", "y"}}).value();
  ASSERT_TRUE(make_directories(dir_.path() + "/s/999/fs"));

  open();

  EXPECT_EQ(snapshotter_->mounts("c").value(), before);
  EXPECT_EQ(snapshotter_->stat("c")->labels, (Labels{{"x", "y"}}));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/s/999"));
}

TEST_F(SnapshotterTest, FindsADirectoryWhoseNewNameAPowerFailureTook) {
  const auto before = snapshotter_->prepare("a", "", {}).value();
  ASSERT_TRUE(replace_file(before[0].source + "/file", Buffer(1)));
  const std::filesystem::path own = std::filesystem::path(before[0].source).parent_path();
  std::filesystem::rename(own, dir_.path() + "/s/spare-" + own.filename().string());

  open();

  EXPECT_EQ(snapshotter_->mounts("a").value(), before);
  EXPECT_TRUE(std::filesystem::exists(before[0].source + "/file"));
}

TEST_F(SnapshotterTest, RemovesDirectoriesThatAnEarlierProcessMadeAhead) {
  layer("A", "");
  ASSERT_TRUE(make_directories(dir_.path() + "/s/spare-0/fs"));
  ASSERT_TRUE(make_directories(dir_.path() + "/s/spare-999/fs"));

  open();

  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/s/spare-0"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/s/spare-999"));
  EXPECT_TRUE(snapshotter_->view("v", "A", {}));
}

TEST_F(SnapshotterTest, MakesADirectoryWhenTheOneMadeAheadIsGone) {
  const auto is_spare = [](const auto& entry) {
    return entry.path().filename().string().starts_with("spare-");
  };
  const auto all = [&] { return std::filesystem::directory_iterator(dir_.path() + "/s"); };
  const auto spares = [&] { return std::ranges::count_if(all(), is_spare); };
  while (spares() < 4) std::this_thread::yield();
  for (const auto& entry : all()) std::filesystem::remove_all(entry.path());

  const auto mounts = snapshotter_->prepare("a", "", {});

  ASSERT_TRUE(mounts) << mounts.error().message;
  EXPECT_TRUE(std::filesystem::is_directory((*mounts)[0].source));
}

TEST_F(SnapshotterTest, NeverMixesADirectoryMadeAheadWithASnapshotsOwn) {
  const auto before = snapshotter_->prepare("a", "", {}).value();
  const auto own = std::filesystem::path(before[0].source).parent_path();
  ASSERT_TRUE(make_directories(dir_.path() + "/s/spare-" + own.filename().string() + "/fs"));
  ASSERT_TRUE(replace_file(before[0].source + "/file", Buffer(1)));

  open();

  EXPECT_TRUE(std::filesystem::exists(before[0].source + "/file"));
}

// The kernel may have told somebody else meanwhile that its files were lost.
TEST_F(SnapshotterTest, DoesNotCommitWhatWasWrittenUnderAnotherProcess) {
  ASSERT_TRUE(snapshotter_->prepare("extract-old", "", {}));

  open();

  const auto committed = snapshotter_->commit("extract-old", "A", {});
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().code, Code::kUnavailable);
  EXPECT_TRUE(committed.error().message.contains("before the node started"))
      << committed.error().message;
  EXPECT_EQ(snapshotter_->stat("extract-old")->kind, Kind::kActive);
  ASSERT_TRUE(snapshotter_->remove("extract-old"));
  layer("A", "");
}

TEST_F(SnapshotterTest, CommitsUnderAnotherNameAfterOneThatWasTaken) {
  layer("A", "");
  ASSERT_TRUE(snapshotter_->prepare("b", "", {}));
  EXPECT_EQ(snapshotter_->commit("b", "A", {}).error().code, Code::kExists);

  EXPECT_TRUE(snapshotter_->commit("b", "B", {}));
}

TEST_F(SnapshotterTest, CountsWhatACommittedLayerOccupies) {
  const auto mounts = snapshotter_->prepare("a", "", {}).value();
  ASSERT_TRUE(replace_file(mounts[0].source + "/file", Buffer(100'000)));
  ASSERT_TRUE(snapshotter_->commit("a", "A", {}));

  const auto usage = snapshotter_->usage("A").value();

  EXPECT_EQ(usage.inodes, 2u);
  EXPECT_GE(usage.bytes, 100'000u);
}

}  // namespace
}  // namespace runnel::snapshot
