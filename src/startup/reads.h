// The list that a guess is made of: parts of files in the order in which they were thought of.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "startup/startup.h"

namespace runnel::startup {

class Reads {
 public:
  // So much a guess may name; then full().
  static constexpr size_t kMaxRanges = 1 << 16;

  explicit Reads(const ImageFiles& files) : files_(files) {}

  // A file of up to `whole` bytes as it is, of a larger one its beginning.
  void add_file(uint32_t inode, uint64_t whole);
  // As far as it lies within the file. The same again is nothing.
  void add(Range range);

  bool full() const { return ranges_.size() >= kMaxRanges; }
  std::vector<Range> take() { return std::move(ranges_); }

 private:
  const ImageFiles& files_;
  std::vector<Range> ranges_;
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> sizes_;  // by inode and offset
};

}  // namespace runnel::startup
