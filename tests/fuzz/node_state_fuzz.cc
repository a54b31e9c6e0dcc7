// Any bytes as what a node's worker finds of an earlier one, which may have died in the middle of a
// write, or been another version: which chunks are on the disk, and of which
// layers that is to be believed, the credentials that were shown,
// the kernel's requests; and as the events of a start that a command reads. Nothing is believed
// that was not written whole, and a second look sees the same.
//
// Seeds: make_protocol_corpus.py.
//
// links: engine remote timeline
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "artifact/chunk_table.h"
#include "base/fd.h"
#include "cache/closed_layers.h"
#include "cache/validity.h"
#include "engine/request_slots.h"
#include "remote/shown_credentials.h"
#include "support/fake_clock.h"
#include "support/lossy_storage.h"
#include "timeline/events.h"

using namespace runnel;
using artifact::ChunkTable;

namespace {

constexpr uint32_t kChunks = 20;

const ChunkTable& table() {
  static const auto& instance = *new ChunkTable([] {
    artifact::ChunkTableWriter writer(artifact::kChunkSize);
    for (uint32_t i = 0; i < kChunks; ++i) writer.add(1, 100, {});
    const auto written = writer.finish();
    return ChunkTable::parse(written.bytes, written.digest).value();
  }());
  return instance;
}

std::vector<uint32_t> chunks_in(test::LossyDisk& disk) {
  const auto validity =
      cache::Validity::open(disk.storage()->open("valid").value(), table(), false).value();
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < kChunks; ++i)
    if (validity.has(i)) found.push_back(i);
  return found;
}

void validity(Bytes bytes) {
  test::LossyDisk disk(1, false);
  RUNNEL_CHECK(disk.storage()->open("valid").value()->write(bytes, 0).has_value());
  const auto found = chunks_in(disk);
  // Only behind a header that is this table's.
  const auto digest = Bytes(table().digest());
  const bool has_header = bytes.size() > 4096 && as_text(bytes).starts_with("RNLVALID") &&
                          std::ranges::equal(bytes.subspan(16, digest.size()), digest);
  RUNNEL_CHECK(found.empty() || has_header);
  RUNNEL_CHECK(chunks_in(disk) == found);
}

void closed_layers(Bytes bytes) {
  const auto layers = cache::parse_closed_layers(bytes);
  if (!layers) return;
  // There is one way to write them.
  RUNNEL_CHECK(std::ranges::equal(cache::encode_closed_layers(*layers), bytes));
}

UniqueFd memory_with(Bytes bytes) {
  UniqueFd file(::memfd_create("state", MFD_CLOEXEC));
  RUNNEL_CHECK(file && write_all_at(file.get(), bytes, 0));
  return file;
}

void credentials(Bytes bytes) {
  const test::FakeClock clock;
  auto file = memory_with(bytes);
  UniqueFd same(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  remote::ShownCredentials shown(clock, std::move(file));
  const auto known = shown.find("registry.example", "team/app").value();
  if (known)
    RUNNEL_CHECK(known->kind == remote::Credential::Kind::kPassword ||
                 known->kind == remote::Credential::Kind::kIdentityToken ||
                 known->kind == remote::Credential::Kind::kBearer);
  // Kept with another one, and read again.
  shown.show("other.example", "a", {.user = "u", .secret = remote::Secret("s")});
  remote::ShownCredentials again(clock, std::move(same));
  RUNNEL_CHECK(again.find("registry.example", "team/app").value() == known);
  RUNNEL_CHECK(again.find("other.example", "a").value().has_value());
}

void requests(Bytes bytes) {
  auto file = engine::RequestSlots::create_file().value();
  RUNNEL_CHECK(
      write_all_at(file.get(), bytes.first(std::min<size_t>(bytes.size(), 4096)), 0).has_value());
  const auto slots = engine::RequestSlots::open(std::move(file)).value();
  for (const uint32_t slot : slots->inherited()) {
    RUNNEL_CHECK(load_le<uint32_t>(slots->bytes(slot).data()) != 0);
    (void)slots->taken(slot);
  }
}

void events(std::string_view text) {
  const auto parsed = timeline::parse_events(text);
  if (!parsed) return;
  const auto written = timeline::to_json(*parsed);
  const auto again = timeline::parse_events(written);
  RUNNEL_CHECK(again && timeline::to_json(*again) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  validity(bytes);
  closed_layers(bytes);
  credentials(bytes);
  requests(bytes);
  events(as_text(bytes));
  return 0;
}
