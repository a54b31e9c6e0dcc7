#include "convert/worker_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>

#include "artifact/layer_blob.h"
#include "base/fd.h"
#include "codec/zstd.h"
#include "convert/boot_builder.h"
#include "convert/layer_converter.h"
#include "support/tar_builder.h"
#include "support/temp_dir.h"

namespace runnel::convert {
namespace {

std::string noise(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (auto& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

Buffer base_tar() {
  test::TarBuilder tar;
  tar.directory("usr/").directory("etc/").file("etc/hosts", "localhost\n");
  tar.file("zz", noise(300'000, 1)).file("aa", noise(200'000, 2)).hard_link("again", "zz");
  return tar.end().bytes();
}

Buffer top_tar() {
  test::TarBuilder tar;
  tar.file("etc/.wh.hosts", "").file("opt/new", noise(5000, 3)).symlink("lib", "usr/lib");
  return tar.end().bytes();
}

class WorkerProcess : public testing::Test {
 protected:
  UniqueFd file(Bytes content = {}) {
    auto made =
        open_file(directory_.path() + "/" + std::to_string(files_++), O_RDWR | O_CREAT).value();
    EXPECT_TRUE(write_all_at(made.get(), content, 0));
    return made;
  }

  // What comes out is in output_.
  Result<LayerDone> convert(Bytes layer, const oci::Digest& diff_id) {
    const auto source = file(layer);
    output_.clear();
    return convert_in_worker(
        program_, limits_, 2, {.diff_id = diff_id, .source_size = layer.size()}, source.get(),
        [this](Bytes bytes) { return taker_(bytes); }, watch_);
  }
  Result<LayerDone> convert(Bytes layer) { return convert(layer, oci::Digest::of(layer)); }

  // How a worker that behaves like that ends.
  Error end_of(const std::string& misbehaviour) {
    program_.arguments = {"convert_worker", misbehaviour};
    const auto done = convert(base_tar());
    EXPECT_FALSE(done) << misbehaviour;
    return done ? Error(Code::kExists, "") : done.error();
  }

  static void expect_no_child() {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }

  test::TempDir directory_;
  int files_ = 0;
  WorkerProgram program_{.path = CONVERT_WORKER, .arguments = {"convert_worker", "convert-worker"}};
  WorkerLimits limits_;
  WorkerWatch watch_;
  Buffer output_;
  BlobTaker taker_ = [this](Bytes bytes) -> Result<void> {
    output_.insert(output_.end(), bytes.begin(), bytes.end());
    return {};
  };
};

TEST_F(WorkerProcess, ConvertsALayerAsTheConverterInThisProcessDoes) {
  const auto tar = base_tar();
  const auto here = file();
  WorkerPool pool(2);
  LayerConverter converter(here.get(), pool, oci::Digest::of(tar));
  ASSERT_TRUE(converter.feed(tar));
  const auto expected = converter.finish().value();

  const auto done = convert(tar, oci::Digest::of(tar));

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->size, expected.blob.size);
  EXPECT_EQ(done->plain_bytes, tar.size());
  EXPECT_EQ(output_.size(), expected.blob.size);
  EXPECT_EQ(codec::sha256(output_), expected.blob.digest);
  expect_no_child();
}

// What its blob may have besides chunks is bounded by the format: the largest tree and table.
TEST_F(WorkerProcess, ThatPoursOutMoreThanAnyLayerMakesIsEnded) {
  limits_.max_plain_bytes = 64 << 20;
  const uint64_t bound =
      limits_.max_plain_bytes / 8 * 9 + artifact::kMaxTreeStored + artifact::kMaxTableSize;
  uint64_t taken = 0;
  taker_ = [&](Bytes bytes) -> Result<void> {
    taken += bytes.size();
    return {};
  };

  const auto error = end_of("pour");

  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_NE(error.message.find(fmt::format("more than {} bytes", bound)), std::string::npos)
      << error.message;
  EXPECT_LE(taken, bound);
  EXPECT_GT(taken, bound - (1 << 20));
  expect_no_child();
}

TEST_F(WorkerProcess, HandsOnABlobThatIsLargerThanAnyPipe) {
  const auto tar = test::TarBuilder().file("f", noise(5 << 20, 4)).end().bytes();
  size_t pieces = 0;
  taker_ = [&](Bytes bytes) -> Result<void> {
    ++pieces;
    output_.insert(output_.end(), bytes.begin(), bytes.end());
    return {};
  };

  const auto done = convert(tar);

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_GT(done->size, 5u << 20);
  EXPECT_EQ(output_.size(), done->size);
  EXPECT_GT(pieces, 5u);
  const auto footer = Bytes(output_).last(artifact::kLayerFooterSize);
  EXPECT_TRUE(artifact::parse_layer_footer(footer, output_.size()));
}

TEST_F(WorkerProcess, EndsWhenItsOutputIsNotTaken) {
  const auto tar = test::TarBuilder().file("f", noise(5 << 20, 4)).end().bytes();
  taker_ = [](Bytes) { return fail(Code::kExhausted, "the disk is full"); };

  const auto done = convert(tar);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted);
  EXPECT_EQ(done.error().message, "the disk is full");
  expect_no_child();
}

TEST_F(WorkerProcess, DoesNotBelieveAWorkerThatSpeaksOfBytesItDidNotWrite) {
  const auto end = end_of("claim");
  EXPECT_EQ(end.code, Code::kInvalid);
  EXPECT_NE(end.message.find("speaks of 100 bytes and wrote 0"), std::string::npos) << end.message;
  expect_no_child();
}

TEST_F(WorkerProcess, IsKilledWhenItStandsStillInTheMiddleOfAMessage) {
  watch_.message_timeout = std::chrono::milliseconds(100);
  const auto end = end_of("halt");
  EXPECT_EQ(end.code, Code::kInvalid);
  EXPECT_NE(end.message.find("comes to no end"), std::string::npos) << end.message;
  expect_no_child();
}

TEST_F(WorkerProcess, IsKilledWhenItDoesNothingAnyMore) {
  watch_.silence_timeout = std::chrono::milliseconds(300);
  const auto end = end_of("sleep");
  EXPECT_EQ(end.code, Code::kUnavailable);
  EXPECT_EQ(end.message, "its worker did nothing for 0 s");
  expect_no_child();
}

TEST_F(WorkerProcess, IsKilledWhenItDoesNotTakeItsJob) {
  program_.arguments = {"convert_worker", "stop"};
  watch_.message_timeout = std::chrono::milliseconds(100);
  BootJob job;
  job.profile = std::string(4 << 20, ' ');  // more than any socket holds

  const auto done = build_boot_in_worker(program_, limits_, job, {}, file().get(), watch_);

  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("comes to no end"), std::string::npos);
  expect_no_child();
}

TEST_F(WorkerProcess, BuildsTheBootBlobThatTheBuilderInThisProcessBuilds) {
  WorkerPool pool(2);
  std::vector<std::unique_ptr<LayerFile>> files;
  std::vector<const LayerFile*> layers;
  std::vector<artifact::LayerTree> trees;
  BootJob job;
  job.generation = 7;
  job.process = {.arguments = {"/bin/x", "y"}, .environment = {"A=b"}, .working_directory = "/w"};
  std::vector<int> descriptors;
  for (const auto& tar : {base_tar(), top_tar()}) {
    auto made = std::make_shared<const UniqueFd>(file());
    LayerConverter converter(made->get(), pool, oci::Digest::of(tar));
    ASSERT_TRUE(converter.feed(tar));
    auto converted = converter.finish().value();
    job.layers.push_back({.blob = oci::Digest::from_sha256(converted.blob.digest),
                          .size = converted.blob.size,
                          .descriptor = static_cast<uint32_t>(descriptors.size())});
    descriptors.push_back(made->get());
    files.push_back(std::make_unique<LayerFile>(made, converted.blob));
    layers.push_back(files.back().get());
    trees.push_back(std::move(converted.tree));
  }
  // The lower layer once more on top.
  job.layers.push_back(job.layers.front());
  layers.push_back(layers.front());
  trees.push_back(trees.front());
  // As large as profiles are; of layers that this image does not have.
  artifact::Profile profile{
      .image = "", .layers = {oci::Digest::of(as_bytes("another layer"))}, .chunks = {}};
  for (uint32_t chunk = 0; chunk < artifact::kMaxProfileChunks; ++chunk)
    profile.chunks.push_back({.layer = 0, .chunk = chunk});
  job.earlier_profile = job.shared_profile = artifact::to_json(profile);
  ASSERT_GT(2 * job.shared_profile.size(), kMaxMessage);
  const auto expected =
      build_boot_blob(layers, trees, {.generation = 7, .process = job.process}).value();
  const auto output = file();

  const auto done = build_boot_in_worker(program_, limits_, job, descriptors, output.get(), watch_);

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->boot, oci::Digest::of(expected.bytes));
  EXPECT_EQ(done->size, expected.bytes.size());
  EXPECT_EQ(done->head_size, expected.head_size);
  EXPECT_EQ(done->head, oci::Digest::of(Bytes(expected.bytes).first(expected.head_size)));
  Buffer bytes(done->size);
  ASSERT_TRUE(read_exact_at(output.get(), bytes, 0));
  EXPECT_EQ(bytes, expected.bytes);
}

TEST_F(WorkerProcess, RefusesABlobThatIsNoConvertedLayer) {
  const auto nonsense = file(as_bytes(noise(5000, 9)));
  BootJob job;
  job.layers.push_back({.blob = oci::Digest::of(as_bytes("x")), .size = 5000, .descriptor = 0});
  const auto output = file();

  const auto done =
      build_boot_in_worker(program_, limits_, job, {nonsense.get()}, output.get(), watch_);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kInvalid);
  EXPECT_NE(done.error().message.find("layer 1"), std::string::npos) << done.error().message;
}

TEST_F(WorkerProcess, SaysWhatIsWrongWithALayer) {
  const auto tar = base_tar();
  const auto other = convert(tar, oci::Digest::of(as_bytes("other")));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kInvalid);
  EXPECT_NE(other.error().message.find("configuration says"), std::string::npos);

  const auto cut = convert(Bytes(tar).first(tar.size() / 2));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kInvalid);
}

TEST_F(WorkerProcess, RefusesALayerThatInflatesTooFar) {
  const auto tar = test::TarBuilder().file("zeros", std::string(4 << 20, '\0')).end().bytes();
  const auto small = codec::ZstdCompressor(3).compress(tar);
  limits_.max_plain_bytes = 1 << 20;

  const auto done = convert(small, oci::Digest::of(tar));

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted);
  EXPECT_NE(done.error().message.find("more than 1048576 bytes"), std::string::npos);
}

TEST_F(WorkerProcess, RefusesALayerWhoseRatioIsABombs) {
  const auto tar =
      test::TarBuilder().file("zeros", std::string(kFreeInflation + 1, '\0')).end().bytes();
  const auto small = codec::ZstdCompressor(1).compress(tar);

  const auto done = convert(small, oci::Digest::of(tar));

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted);
  EXPECT_NE(done.error().message.find("inflates"), std::string::npos) << done.error().message;
}

TEST_F(WorkerProcess, RefusesTooManyEntries) {
  test::TarBuilder tar;
  for (int i = 0; i < 100; ++i) tar.directory("same/");
  limits_.max_entries = 99;

  const auto done = convert(tar.end().bytes());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted);
  EXPECT_NE(done.error().message.find("more than 99 entries"), std::string::npos);
}

TEST_F(WorkerProcess, RefusesNamesThatAreTooLongAndTooDeep) {
  const auto long_name =
      test::TarBuilder().pax({{"path", std::string(5000, 'n')}}).file("x", "").end().bytes();
  const auto long_done = convert(long_name);
  ASSERT_FALSE(long_done);
  EXPECT_NE(long_done.error().message.find("name"), std::string::npos) << long_done.error().message;

  std::string path;
  for (int i = 0; i < 1500; ++i) path += "d/";
  const auto deep_done =
      convert(test::TarBuilder().pax({{"path", path}}).directory("x").end().bytes());
  ASSERT_FALSE(deep_done);
  EXPECT_NE(deep_done.error().message.find("directories below each other"), std::string::npos)
      << deep_done.error().message;
}

#if !defined(__has_feature) || !__has_feature(address_sanitizer)
TEST_F(WorkerProcess, SaysThatMemoryRanOut) {
  limits_.memory_bytes = 8 << 20;  // less than it has at the start

  const auto done = convert(as_bytes(noise(1 << 20, 1)));

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted) << done.error().message;
}

TEST_F(WorkerProcess, IsKilledWhenItLeavesItsBounds) {
  for (const auto* how : {"open", "connect", "exec", "code", "thread"}) {
    const auto error = end_of(how);
    EXPECT_EQ(error.code, Code::kInvalid) << how;
    EXPECT_NE(error.message.find("system call"), std::string::npos) << how << error.message;
  }
  expect_no_child();
}
#endif

TEST_F(WorkerProcess, SaysHowAWorkerDied) {
  EXPECT_NE(end_of("abort").message.find("signal 6"), std::string::npos);
  EXPECT_NE(end_of("lie").message.find("unknown kind"), std::string::npos);
  EXPECT_EQ(end_of("nothing").code, Code::kUnavailable);
  program_.path = "/absent";
  EXPECT_FALSE(convert(base_tar()));
  expect_no_child();
}

TEST_F(WorkerProcess, MayUseOnlySoMuchProcessorTime) {
  limits_.cpu_seconds = 1;
  const auto error = end_of("spin");
  EXPECT_EQ(error.code, Code::kExhausted);
  EXPECT_NE(error.message.find("processor time"), std::string::npos);
}

TEST_F(WorkerProcess, IsKilledWhenItsCallerGivesUp) {
  program_.arguments = {"convert_worker", "spin"};
  int asked = 0;
  watch_.give_up = [&] { return ++asked == 3; };

  const auto done = convert(base_tar());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kCancelled);
  expect_no_child();
}

// The state letter of a process (proc(5)); 0 when there is none.
char state_of(pid_t pid) {
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(stat, text);
  const auto end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '\0' : text[end + 2];
}

TEST_F(WorkerProcess, DiesWithItsCallerEvenBeforeItHasBegun) {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  program_.arguments = {"convert_worker", "stop"};
  const pid_t caller = ::fork();
  ASSERT_GE(caller, 0);
  if (caller == 0) ::_exit(convert(base_tar()) ? 1 : 2);
  pid_t worker = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (state_of(worker) != 'T' && std::chrono::steady_clock::now() < deadline) {
    std::ifstream(fmt::format("/proc/{}/task/{}/children", caller, caller)) >> worker;
    std::this_thread::yield();
  }
  ASSERT_EQ(state_of(worker), 'T') << "the worker has not stopped itself";

  ASSERT_EQ(::kill(caller, SIGKILL), 0);

  int status = 0;
  ASSERT_EQ(::waitpid(caller, &status, 0), caller);
  EXPECT_TRUE(WIFSIGNALED(status));
  pid_t ended = 0;
  while ((ended = ::waitpid(worker, &status, WNOHANG)) == 0 &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  if (ended == 0) ::kill(worker, SIGKILL);
  ASSERT_EQ(ended, worker) << "it outlived its caller";
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

TEST_F(WorkerProcess, SaysWhyItCannotBeStarted) {
  program_.path = directory_.path() + "/absent";

  const auto done = convert(base_tar());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kNotFound);
  EXPECT_NE(done.error().message.find("starting a worker: " + program_.path), std::string::npos)
      << done.error().message;
  expect_no_child();
}

TEST_F(WorkerProcess, TellsHowFarItIs) {
  const auto tar = test::TarBuilder().file("f", noise(9 << 20, 4)).end().bytes();
  std::vector<uint64_t> seen;
  watch_.progress = [&](uint64_t done) { seen.push_back(done); };

  ASSERT_TRUE(convert(tar));

  ASSERT_EQ(seen.size(), 2u);
  EXPECT_GE(seen[0], 4u << 20);
  EXPECT_GE(seen[1], 8u << 20);
}

TEST(WorkerMessages, ComeBackAsTheyWereAndAreCheckedWhenCutAnywhere) {
  BootJob boot{.generation = 3, .profile = "{}", .layers = {}};
  boot.layers.push_back({.blob = oci::Digest::of(as_bytes("b")), .size = 9, .descriptor = 1});
  const WorkerJob jobs[] = {
      {.what = LayerJob{.diff_id = oci::Digest::of(as_bytes("a")), .source_size = 5}},
      {.what = boot, .limits = {.memory_bytes = 7}, .threads = 3}};
  for (const auto& job : jobs) {
    const auto bytes = serialize(job);
    EXPECT_EQ(parse_worker_job(bytes).value(), job);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
      EXPECT_FALSE(parse_worker_job(Bytes(bytes).first(cut)));
  }
  const WorkerMessage messages[] = {WorkerProgress{4}, Error(Code::kExhausted, "too much"),
                                    LayerDone{.size = 1, .plain_bytes = 2},
                                    BootDone{.boot = oci::Digest::of(as_bytes("a")),
                                             .size = 2,
                                             .head = oci::Digest::of(as_bytes("h")),
                                             .head_size = 1}};
  for (const auto& message : messages) {
    const auto bytes = serialize(message);
    EXPECT_EQ(parse_worker_message(bytes).value(), message);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
      EXPECT_FALSE(parse_worker_message(Bytes(bytes).first(cut)));
  }
}

}  // namespace
}  // namespace runnel::convert
