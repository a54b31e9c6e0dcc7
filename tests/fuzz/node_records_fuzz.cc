// Any bytes as the records by which a node knows, after a restart, what it has: which image a
// directory holds, what a mount was made of, the rows of the snapshots' database, and the kernel's
// list of mounts, which has everybody's. What is understood is within its bounds and reads the same
// when it is written again; what is not is refused in one short sentence that says what it is.
//
// Seeds: make_protocol_corpus.py.
//
// links: node
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "engine/mount_record.h"
#include "engine/mounter.h"
#include "engine/node_table.h"
#include "node/image_record.h"
#include "snapshot/record.h"

using namespace runnel;

namespace {

void check_is_a_sentence(const Error& error) {
  RUNNEL_CHECK(!error.message.empty() && error.message.size() < 4000);
  RUNNEL_CHECK(is_utf8(error.message));
  for (const unsigned char c : error.message) RUNNEL_CHECK(c >= 0x20 && c != 0x7f);
}

void image(Bytes bytes) {
  const auto record = node::parse_image_record(bytes);
  if (!record) {
    check_is_a_sentence(record.error());
    RUNNEL_CHECK(record.error().message.starts_with("image.json"));
    return;
  }
  RUNNEL_CHECK(!record->host.empty() && !record->repository.empty() && !record->subject.empty());
  RUNNEL_CHECK(std::ranges::none_of(record->chain_ids, &oci::Digest::empty));
  RUNNEL_CHECK(record->layer_sizes.empty() ||
               record->layer_sizes.size() == record->chain_ids.size());
  RUNNEL_CHECK(node::parse_image_record(as_bytes(to_json(*record))) == *record);
}

void mount(Bytes bytes) {
  const auto record = engine::parse_mount_record(bytes);
  if (!record) return check_is_a_sentence(record.error());
  RUNNEL_CHECK(record->tree < engine::kMaxTreeNumber);
  for (const auto& digest : record->served)
    RUNNEL_CHECK(std::ranges::find(record->layers, digest) != record->layers.end());
  RUNNEL_CHECK(record->loops.empty() || record->loops.size() == record->layers.size());
  for (const auto& loop : record->loops) RUNNEL_CHECK(loop.find('/') == loop.npos);
  RUNNEL_CHECK(engine::parse_mount_record(as_bytes(to_json(*record))) == *record);
}

// The bytes as a row: five numbers, and what is left as every text.
void row(Bytes bytes) {
  constexpr size_t kNumbers = 5 * sizeof(int64_t);
  if (bytes.size() < kNumbers) return;
  const auto number = [&](size_t i) {
    return load_le<int64_t>(bytes.data() + i * sizeof(int64_t));
  };
  const std::string text(as_text(bytes.subspan(kNumbers)));
  auto record = snapshot::to_record({.number = number(0),
                                     .name = text,
                                     .parent = text,
                                     .kind = number(1),
                                     .created = number(2),
                                     .updated = number(2),
                                     .labels = text,
                                     .chain_id = text,
                                     .bytes = number(3),
                                     .inodes = number(4)});
  if (!record) {
    check_is_a_sentence(record.error());
    RUNNEL_CHECK(record.error().message.contains(quote(text)));
    return;
  }
  RUNNEL_CHECK(record->info.kind >= snapshot::Kind::kView &&
               record->info.kind <= snapshot::Kind::kCommitted);
  for (const auto& [key, value] : record->info.labels) RUNNEL_CHECK(is_utf8(key) && is_utf8(value));
  std::erase_if(record->info.labels, [](const auto& label) { return label.second.empty(); });
  RUNNEL_CHECK(snapshot::to_record(snapshot::to_row(*record)) == *record);
}

// Whatever text a label is, it comes back: one that does not would take its snapshot with it.
void label(std::string_view text) {
  if (text.empty() || !is_utf8(text)) return;
  const snapshot::Record record{
      .info = {.name = "a", .parent = {}, .labels = {{std::string(text), std::string(text)}}},
      .chain_id = {},
      .usage = {}};
  RUNNEL_CHECK(snapshot::to_record(snapshot::to_row(record)) == record);
}

// As the kernel does it.
std::string escaped(std::string_view path) {
  std::string out;
  for (const char c : path)
    out += std::string_view(" \t\n\\").contains(c) ? fmt::format("\\{:03o}", c) : std::string(1, c);
  return out;
}

void mountinfo(std::string_view text) {
  const std::string directory = "/var/lib/run nel";
  for (const auto& each : engine::mounts_in(text, directory))
    RUNNEL_CHECK(each.target == directory || each.target.starts_with(directory + "/"));
  // Whatever it is called, between two of others.
  const auto target = directory + "/" + std::string(text);
  const std::string other = "20 1 8:1 / /other rw shared:1 - ext4 /dev/sda1 rw\n";
  const auto found = engine::mounts_in(
      other + "36 20 0:50 / " + escaped(target) + " ro - erofs none ro\n" + other, directory);
  RUNNEL_CHECK(found.size() == 1 && found[0].target == target);
  RUNNEL_CHECK(found[0].type == "erofs" && found[0].device == "0:50");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  image(bytes);
  mount(bytes);
  row(bytes);
  label(as_text(bytes));
  mountinfo(as_text(bytes));
  return 0;
}
