// Any bytes as the journal of an install, by which an uninstall puts back what was there. What is
// understood names absolute paths, hashes of every file that was there, and no directory but those
// above its file, and reads the same when it is written again.
//
// Seeds: make_protocol_corpus.py.
//
// links: install
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/utf8.h"
#include "install/journal.h"

using namespace runnel;

namespace {

void check(const install::ChangedFile& file) {
  RUNNEL_CHECK(file.path.starts_with('/'));
  RUNNEL_CHECK(file.before_hash.empty() || file.before_hash.size() == 64);
  RUNNEL_CHECK(file.after_hash.size() == 64);
  RUNNEL_CHECK((file.owner.mode & ~07777U) == 0);
  for (const auto& directory : file.directories)
    RUNNEL_CHECK(directory.starts_with('/') && file.path.starts_with(directory + "/"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto journal = install::parse_journal(std::as_bytes(std::span(data, size)));
  if (!journal) {
    RUNNEL_CHECK(!journal.error().message.empty() && is_utf8(journal.error().message));
    return 0;
  }
  for (const auto& file : journal->files) check(file);
  const auto text = to_json(*journal);
  const auto again = install::parse_journal(as_bytes(text));
  RUNNEL_CHECK(again && to_json(*again) == text);
  return 0;
}
