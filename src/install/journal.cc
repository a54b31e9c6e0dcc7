#include "install/journal.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/json_record.h"
#include "base/quote.h"

namespace runnel::install {

namespace {

namespace json = boost::json;

constexpr uint32_t kVersion = 1;

Result<std::string> hash_member(const json::object& object, std::string_view name) {
  RUNNEL_TRY(auto hash, text_in(object, name));
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (hash.size() != 64 || !std::ranges::all_of(hash, is_digit))
    return fail(Code::kInvalid, "\"{}\" is no SHA-256", name);
  return hash;
}

// The directories above a file that are made for it: nothing else may be removed with it.
Result<std::vector<std::string>> directories_above(const std::string& path,
                                                   const json::array& list) {
  std::vector<std::string> directories;
  for (const auto& each : list) {
    if (!each.is_string()) return fail(Code::kInvalid, "a directory's name is no text");
    std::string directory(each.get_string());
    if (!directory.starts_with('/') || !path.starts_with(directory + "/"))
      return fail(Code::kInvalid, "{} is no directory above {}", quote(directory), quote(path));
    directories.push_back(std::move(directory));
  }
  return directories;
}

Result<ChangedFile> to_file(const json::value& value) {
  if (!value.is_object()) return fail(Code::kInvalid, "a file is no JSON object");
  const auto& object = value.get_object();
  ChangedFile file;
  RUNNEL_TRY(file.path, text_in(object, "path"));
  if (!file.path.starts_with('/') || file.path.contains('\0'))
    return fail(Code::kInvalid, "{} is no absolute path", quote(file.path));
  RUNNEL_TRY(const bool existed, bool_in(object, "existed"));
  if (existed) {
    RUNNEL_TRY(file.before_hash, hash_member(object, "before_sha256"));
  }
  RUNNEL_TRY(file.after_hash, hash_member(object, "after_sha256"));
  RUNNEL_TRY(file.owner.mode, number_in(object, "mode"));
  if (file.owner.mode > 07777) return fail(Code::kInvalid, "{:o} is no mode", file.owner.mode);
  RUNNEL_TRY(file.owner.uid, number_in(object, "uid"));
  RUNNEL_TRY(file.owner.gid, number_in(object, "gid"));
  RUNNEL_TRY(const auto* directories, list_in(object, "directories"));
  RUNNEL_TRY(file.directories, directories_above(file.path, *directories));
  return file;
}

}  // namespace

std::string to_json(const Journal& journal) {
  json::array list;
  for (const auto& file : journal.files) {
    list.push_back(
        {{"path", file.path},
         {"existed", file.existed()},
         {"before_sha256", file.before_hash},
         {"after_sha256", file.after_hash},
         {"mode", file.owner.mode},
         {"uid", file.owner.uid},
         {"gid", file.owner.gid},
         {"directories", json::array(file.directories.begin(), file.directories.end())}});
  }
  return json::serialize(json::object{
      {"version", kVersion}, {"committed", journal.committed}, {"files", std::move(list)}});
}

Result<Journal> parse_journal(Bytes bytes) {
  RUNNEL_TRY(const auto object, parse_json_record(bytes));
  RUNNEL_DO(check_version(object, kVersion));
  Journal journal;
  RUNNEL_TRY(journal.committed, bool_in(object, "committed"));
  RUNNEL_TRY(const auto* files, list_in(object, "files"));
  for (const auto& each : *files) {
    RUNNEL_TRY(auto file, to_file(each));
    journal.files.push_back(std::move(file));
  }
  return journal;
}

}  // namespace runnel::install
