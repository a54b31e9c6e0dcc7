// Keeps what a tar::Reader hands on, and holds the reader to the contract of tar::Handler.
#pragma once

#include <string>
#include <vector>

#include "tar/reader.h"

namespace runnel::test {

struct RecordedEntry {
  tar::Entry entry;
  std::string data;  // of all extents, one after the other
  bool ended = false;

  bool operator==(const RecordedEntry&) const = default;
};

// The content with holes as zeros.
inline std::string content_of(const RecordedEntry& recorded) {
  std::string content(recorded.entry.size, '\0');
  size_t from = 0;
  for (const auto& extent : recorded.entry.data_extents) {
    content.replace(extent.offset, extent.length, recorded.data, from, extent.length);
    from += extent.length;
  }
  return content;
}

class TarRecorder : public tar::Handler {
 public:
  std::vector<RecordedEntry> entries;

  Result<void> entry(const tar::Entry& entry) override {
    RUNNEL_CHECK(entries.empty() || entries.back().ended);
    check_extents(entry);
    entries.push_back({entry, {}, false});
    extent_ = 0;
    done_ = 0;
    return {};
  }

  Result<void> data(uint64_t offset, Bytes bytes) override {
    const auto& extents = entries.back().entry.data_extents;
    RUNNEL_CHECK(!entries.back().ended && !bytes.empty() && extent_ < extents.size());
    RUNNEL_CHECK(offset == extents[extent_].offset + done_);
    done_ += bytes.size();
    RUNNEL_CHECK(done_ <= extents[extent_].length);
    if (done_ == extents[extent_].length) {
      ++extent_;
      done_ = 0;
    }
    entries.back().data += as_text(bytes);
    return {};
  }

  Result<void> entry_end() override {
    RUNNEL_CHECK(!entries.back().ended && extent_ == entries.back().entry.data_extents.size());
    entries.back().ended = true;
    return {};
  }

 private:
  static void check_extents(const tar::Entry& entry) {
    uint64_t free_from = 0;
    for (const auto& extent : entry.data_extents) {
      RUNNEL_CHECK(extent.offset >= free_from && extent.length > 0);
      RUNNEL_CHECK(extent.offset <= entry.size && extent.length <= entry.size - extent.offset);
      free_from = extent.offset + extent.length + 1;
    }
    RUNNEL_CHECK(entry.name.find('\0') == std::string::npos);
    RUNNEL_CHECK(entry.link_name.find('\0') == std::string::npos);
    RUNNEL_CHECK(entry.mode <= 07777 && entry.mtime_ns < 1'000'000'000);
  }

  size_t extent_ = 0;
  uint64_t done_ = 0;
};

}  // namespace runnel::test
