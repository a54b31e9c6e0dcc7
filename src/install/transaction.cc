#include "install/transaction.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/durable.h"

namespace runnel::install {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTransactions = 1000;

// A file that a symbolic link names is changed where it is; the link stays.
std::string resolved(const std::string& path) {
  std::error_code error;
  const auto real = fs::canonical(path, error);
  return error ? fs::absolute(path, error).string() : real.string();
}

// The directories that making `path` will make, uppermost first.
std::vector<std::string> missing_directories(const std::string& path) {
  std::vector<std::string> missing;
  for (auto directory = fs::path(path).parent_path(); !directory.empty();
       directory = directory.parent_path()) {
    std::error_code error;
    if (fs::exists(directory, error) || directory == directory.parent_path()) break;
    missing.push_back(directory.string());
  }
  std::ranges::reverse(missing);
  return missing;
}

}  // namespace

std::string Transaction::copy_path(size_t index) const {
  return fmt::format("{}/{}", directory_, index);
}

std::string Transaction::journal_path() const {
  return directory_ + "/journal.json";
}

Result<Transaction> Transaction::begin(const std::string& directory,
                                       const std::vector<FileChange>& changes) {
  RUNNEL_DO(make_directories(directory, 0700));
  std::vector<ChangedFile> files;
  for (const auto& change : changes) {
    ChangedFile file;
    file.path = resolved(change.path);
    file.directories = missing_directories(file.path);
    file.after = change.after;
    file.after_hash = hash_of(change.after);
    RUNNEL_TRY(const auto now, read_if_there(file.path));
    if (now != change.before) {
      return fail(Code::kConflict, "{} has changed meanwhile: run it again", file.path);
    }
    if (now) {
      struct stat info;
      if (::stat(file.path.c_str(), &info) != 0) return fail_errno("stat {}", file.path);
      file.before_hash = hash_of(*now);
      file.owner = {.mode = info.st_mode & 07777, .uid = info.st_uid, .gid = info.st_gid};
      RUNNEL_DO(replace_file(fmt::format("{}/{}", directory, files.size()), as_bytes(*now), 0600));
    }
    files.push_back(std::move(file));
  }
  Transaction transaction(directory, {.committed = false, .files = std::move(files)});
  RUNNEL_DO(transaction.write_journal());
  RUNNEL_DO(sync_directory(fs::path(directory).parent_path().string()));
  return transaction;
}

Result<void> Transaction::write_journal() const {
  return replace_file(journal_path(), as_bytes(to_json(journal_)), 0600);
}

Result<Transaction> Transaction::load(const std::string& directory) {
  const auto path = directory + "/journal.json";
  RUNNEL_TRY(const auto bytes, read_file(path, kMaxTextFile));
  auto journal = parse_journal(bytes);
  if (!journal) return std::unexpected(journal.error().in(path));
  return Transaction(directory, *std::move(journal));
}

Result<void> Transaction::apply(size_t index) const {
  const auto& file = journal_.files[index];
  return write_text(file.path, file.after, file.owner);
}

Result<void> Transaction::commit() {
  journal_.committed = true;
  return write_journal();
}

Result<std::string> Transaction::read_copy(size_t index) const {
  const auto& file = journal_.files[index];
  RUNNEL_TRY(const auto bytes, read_file(copy_path(index), kMaxTextFile));
  std::string before(as_text(bytes));
  if (hash_of(before) == file.before_hash) return before;
  return fail(Code::kInvalid, "{}, the copy of {}, is damaged", copy_path(index), file.path);
}

Result<void> Transaction::restore(size_t index) const {
  const auto& file = journal_.files[index];
  RUNNEL_TRY(const auto now, read_if_there(file.path));
  if (file.existed() && (!now || hash_of(*now) != file.before_hash)) {
    RUNNEL_TRY(const auto before, read_copy(index));
    RUNNEL_DO(write_text(file.path, before, file.owner));
  }
  remove_half_written(file.path);  // of a crash between writing and renaming
  std::error_code error;
  if (!file.existed() && fs::exists(fs::path(file.path).parent_path(), error)) {
    RUNNEL_DO(remove_text(file.path));
  }
  for (auto made = file.directories.rbegin(); made != file.directories.rend(); ++made) {
    ::rmdir(made->c_str());  // stays when somebody has put something into it
  }
  return {};
}

Result<void> Transaction::forget() const {
  RUNNEL_DO(remove_text(journal_path()));
  std::error_code error;
  fs::remove_all(directory_, error);
  return {};
}

Result<Transactions> Transactions::open(const std::string& root) {
  const auto directory = root + "/install";
  RUNNEL_DO(make_directories(root, 0711));
  RUNNEL_DO(make_directories(directory, 0700));
  RUNNEL_TRY(auto lock, open_file(directory + "/lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kConflict, "another install or uninstall is at work in {}", directory);
  }
  return Transactions(directory, std::move(lock));
}

// Directories without a journal are what a begin() left that never came to it.
Result<std::vector<std::string>> Transactions::names() const {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    if (fs::exists(entry.path() / "journal.json")) found.push_back(entry.path().filename());
  }
  if (error) return fail(Code::kUnavailable, "{}: {}", directory_, error.message());
  std::ranges::sort(found);
  return found;
}

Result<std::vector<Transaction>> Transactions::all() const {
  RUNNEL_TRY(const auto found, names());
  std::vector<Transaction> transactions;
  for (const auto& name : found) {
    RUNNEL_TRY(auto one, Transaction::load(fmt::format("{}/{}", directory_, name)));
    transactions.push_back(std::move(one));
  }
  return transactions;
}

Result<Transaction> Transactions::begin(const std::vector<FileChange>& changes) const {
  RUNNEL_TRY(const auto found, names());
  const size_t next = found.empty() ? 1 : std::strtoul(found.back().c_str(), nullptr, 10) + 1;
  if (next > kMaxTransactions) {
    return fail(Code::kExhausted, "{} has too many installs: uninstall first", directory_);
  }
  return Transaction::begin(fmt::format("{}/{:04}", directory_, next), changes);
}

void Transactions::remove_if_empty() const {
  const auto found = names();
  std::error_code error;
  if (!found || !found->empty() || fs::exists(directory_ + "/retired", error)) return;
  fs::remove_all(directory_, error);
}

}  // namespace runnel::install
