// runnel-conversion-stages: what each stage of a layer's conversion costs by itself, on one thread.
//
// One pass over a layer, window by window: each stage works off what the one before made of it, and
// the clock says whose time it was. So stages add up to a conversion without overlap, and a stage
// finds its input in the memory, not in the processor's cache.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "artifact/chunk_table.h"
#include "artifact/chunker.h"
#include "artifact/layer_blob.h"
#include "artifact/tree_builder.h"
#include "base/fd.h"
#include "codec/codec.h"
#include "tar/reader.h"

namespace runnel::bench {

namespace {

constexpr size_t kReadSize = 256 << 10;
constexpr size_t kWindow = 32 << 20;

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// What the clock on the wall and this thread's processor clock say.
struct Times {
  static Times now() { return {seconds_of(CLOCK_MONOTONIC), seconds_of(CLOCK_THREAD_CPUTIME_ID)}; }
  Times operator-(const Times& other) const { return {wall - other.wall, cpu - other.cpu}; }
  Times operator+(const Times& other) const { return {wall + other.wall, cpu + other.cpu}; }

  double wall = 0;
  double cpu = 0;
};

struct Stage {
  const char* name;
  Times took{};
  uint64_t bytes = 0;  // that went in; of "inflate", that came out

  template <class Work>
  auto time(uint64_t size, const Work& work) {
    bytes += size;
    struct Stop {
      Stage& stage;
      Times start;
      ~Stop() { stage.took = stage.took + (Times::now() - start); }
    } const stop{*this, Times::now()};
    return work();
  }
};

// A layer's tree and chunks as artifact::LayerLayout makes them, of bytes that are plain already.
class Layout : private tar::Handler {
 public:
  Result<void> feed(Bytes plain) { return tar_.feed(plain, *this); }
  Result<artifact::LayerTree> finish() {
    RUNNEL_DO(tar_.finish());
    RUNNEL_DO(chunker_.finish());
    return tree_.finish();
  }
  std::vector<Buffer> take_chunks() { return std::exchange(chunks_, {}); }

 private:
  Result<void> entry(const tar::Entry& entry) override {
    RUNNEL_TRY(file_, tree_.add(entry));
    return file_ ? begin_file(chunker_, entry) : Result<void>();
  }
  Result<void> data(uint64_t offset, Bytes bytes) override {
    return file_ ? chunker_.write(offset, bytes) : Result<void>();
  }
  Result<void> entry_end() override {
    if (!file_) return {};
    RUNNEL_TRY(auto extents, chunker_.end_file());
    tree_.set_extents(*file_, std::move(extents));
    return {};
  }

  std::vector<Buffer> chunks_;
  tar::Reader tar_;
  artifact::TreeBuilder tree_;
  artifact::Chunker chunker_{artifact::kChunkSize, [this](Buffer chunk) -> Result<void> {
                               chunks_.push_back(std::move(chunk));
                               return {};
                             }};
  std::optional<uint32_t> file_;
};

class Stages {
 public:
  explicit Stages(int output) : output_(output) {}

  Result<void> run(int input);
  boost::json::object report() const;

 private:
  Result<void> work_off(Bytes plain);
  Result<void> store(std::vector<Buffer> chunks);

  const int output_;
  uint64_t written_ = 0;
  Layout layout_;
  codec::Sha256 diff_id_;
  codec::ZstdCompressor compressor_{artifact::kZstdLevel};
  Stage read_{"read"}, inflate_{"inflate"}, diff_hash_{"hash of the tar"}, layout_stage_{"layout"},
      chunk_hash_{"hash of chunks"}, zstd_{"zstd"}, blob_hash_{"hash of the blob"}, write_{"write"},
      sync_{"sync"};
  codec::Sha256 blob_hash_value_;
};

Result<void> Stages::run(int input) {
  RUNNEL_TRY(const auto size, file_size(input));
  Buffer piece(kReadSize);
  Buffer window;
  window.reserve(kWindow + (4 << 20));
  std::unique_ptr<codec::LayerDecoder> decoder;
  Stage copy{"copy"};  // into the window, which a conversion does not have
  const auto keep = [&](Bytes plain) -> Result<void> {
    copy.time(plain.size(), [&] { window.insert(window.end(), plain.begin(), plain.end()); });
    return {};
  };
  for (uint64_t at = 0; at < size;) {
    RUNNEL_TRY(const auto count, read_.time(0, [&] { return read_up_to_at(input, piece, at); }));
    if (count == 0) return fail(Code::kInvalid, "the layer ends at byte {}", at);
    read_.bytes += count;
    at += count;
    const auto part = Bytes(piece).first(count);
    if (!decoder) decoder = codec::LayerDecoder::make(codec::detect_compression(part));
    RUNNEL_DO(inflate_.time(0, [&] { return decoder->feed(part, keep); }));
    if (window.size() < kWindow) continue;
    RUNNEL_DO(work_off(window));
    window.clear();
  }
  if (!decoder) return fail(Code::kInvalid, "the layer is empty");
  RUNNEL_DO(decoder->finish());
  inflate_.took = inflate_.took - copy.took;
  inflate_.bytes = copy.bytes;
  RUNNEL_DO(work_off(window));
  RUNNEL_DO(layout_stage_.time(0, [&] { return layout_.finish(); }));
  RUNNEL_DO(store(layout_.take_chunks()));
  const int synced = sync_.time(written_, [&] { return ::fdatasync(output_); });
  return synced == 0 ? Result<void>() : fail_errno("fdatasync");
}

Result<void> Stages::work_off(Bytes plain) {
  diff_hash_.time(plain.size(), [&] { diff_id_.update(plain); });
  RUNNEL_DO(layout_stage_.time(plain.size(), [&] { return layout_.feed(plain); }));
  return store(layout_.take_chunks());
}

Result<void> Stages::store(std::vector<Buffer> chunks) {
  std::vector<Buffer> frames;
  frames.reserve(chunks.size());
  for (const auto& chunk : chunks) chunk_hash_.time(chunk.size(), [&] { codec::sha256(chunk); });
  for (const auto& chunk : chunks)
    zstd_.time(chunk.size(), [&] { frames.push_back(compressor_.compress(chunk)); });
  for (const auto& frame : frames)
    blob_hash_.time(frame.size(), [&] { blob_hash_value_.update(frame); });
  for (const auto& frame : frames) {
    RUNNEL_DO(write_.time(frame.size(), [&] { return write_all_at(output_, frame, written_); }));
    written_ += frame.size();
  }
  return {};
}

boost::json::object Stages::report() const {
  boost::json::object stages;
  for (const auto* stage : {&read_, &inflate_, &diff_hash_, &layout_stage_, &chunk_hash_, &zstd_,
                            &blob_hash_, &write_, &sync_})
    stages[stage->name] = {
        {"seconds", stage->took.wall}, {"cpu_seconds", stage->took.cpu}, {"bytes", stage->bytes}};
  return {{"plain_bytes", inflate_.bytes}, {"stored_bytes", written_}, {"stages", stages}};
}

int run(const std::string& layer, const std::string& directory) {
  const auto outcome = [&]() -> Result<void> {
    RUNNEL_TRY(const auto input, open_file(layer, O_RDONLY));
    RUNNEL_TRY(const auto output, open_file(directory, O_TMPFILE | O_RDWR, 0600));
    Stages stages(output.get());
    RUNNEL_DO(stages.run(input.get()));
    std::cout << boost::json::serialize(stages.report()) << "\n";
    return {};
  }();
  if (outcome) return 0;
  std::cerr << outcome.error().message << "\n";
  return 1;
}

}  // namespace

}  // namespace runnel::bench

int main(int argc, char** argv) {
  CLI::App app("What each stage of converting a layer costs, on one thread, as JSON");
  std::string layer;
  std::string directory = "/var/tmp";
  app.add_option("--layer", layer, "a layer as a registry has it: tar, gzip or zstd")->required();
  app.add_option("--scratch", directory, "where what is written goes; nothing stays");
  CLI11_PARSE(app, argc, argv);
  return runnel::bench::run(layer, directory);
}
