// Configuration files of this machine: each a whole text, replaced durably, never half-written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel::install {

constexpr uint64_t kMaxTextFile = 16 << 20;

// The content, nothing when there is no such file.
Result<std::optional<std::string>> read_if_there(const std::string& path);

// By which texts are told apart: SHA-256 in hexadecimal.
std::string hash_of(const std::string& text);

struct Ownership {
  unsigned mode = 0644;
  unsigned uid = 0;
  unsigned gid = 0;
};

// Replaces or creates the file and the directories above it. At no time can anybody read the text
// who may not read the file in the end.
Result<void> write_text(const std::string& path, const std::string& text, const Ownership& owner);

// No error when there is no such file.
Result<void> remove_text(const std::string& path);

// What a write_text() left beside the file that a crash ended before its rename.
void remove_half_written(const std::string& path);

// Keeps the text beside its file, for the owner's eyes alone, and returns the name that it has
// there: PATH.runnel-saved, or that and ".1", ".2" and so on when the names before are taken by
// other texts. So nothing that was kept before is lost, and the same text is kept once.
Result<std::string> save_beside(const std::string& path, const std::string& text);

// Whether a file's name is one that save_beside() gives. Nothing but people reads those files.
bool is_saved_name(std::string_view name);

}  // namespace runnel::install
