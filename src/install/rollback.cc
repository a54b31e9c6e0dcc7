#include "install/rollback.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "install/text_file.h"

namespace runnel::install {

namespace {

// One file through all transactions.
struct History {
  std::string path;
  const Transaction* first = nullptr;  // knows what was there before
  size_t index = 0;                    // in it
  std::set<std::string> known;         // hashes, "" for no file
};

// In the order in which the files were changed first.
std::vector<History> histories_of(std::span<const Transaction> oldest_first) {
  std::vector<History> found;
  for (const auto& transaction : oldest_first) {
    for (size_t i = 0; i < transaction.size(); ++i) {
      const auto& file = transaction.file(i);
      auto history = std::ranges::find(found, file.path, &History::path);
      if (history == found.end()) {
        found.push_back({file.path, &transaction, i, {file.before_hash}});
        history = std::prev(found.end());
      }
      if (history->known.contains(file.before_hash)) history->known.insert(file.after_hash);
    }
  }
  return found;
}

bool is_edited(const History& history, const std::optional<std::string>& text) {
  return !history.known.contains(text ? hash_of(*text) : std::string());
}

}  // namespace

Result<void> check_unedited(std::span<const Transaction> oldest_first) {
  std::vector<std::string> edited;
  for (const auto& history : histories_of(oldest_first)) {
    RUNNEL_TRY(const auto text, read_if_there(history.path));
    if (is_edited(history, text)) edited.push_back(history.path);
  }
  if (edited.empty()) return {};
  return fail(Code::kConflict,
              "{} was edited after an install: undo that, or let `runnel node uninstall --force` "
              "restore what was there before the first install; it keeps the present content "
              "beside it as *.runnel-saved",
              fmt::join(edited, ", "));
}

Result<void> roll_back(std::span<const Transaction> oldest_first, bool force,
                       const std::function<void(const std::string&)>& say) {
  if (!force) RUNNEL_DO(check_unedited(oldest_first));
  const auto histories = histories_of(oldest_first);
  for (auto each = histories.rbegin(); each != histories.rend(); ++each) {
    say("restoring " + each->path);
    RUNNEL_TRY(const auto text, read_if_there(each->path));
    if (text && is_edited(*each, text)) {
      RUNNEL_TRY(const auto saved, save_beside(each->path, *text));
      say(fmt::format("{} was edited: its content until now is kept as {}", each->path, saved));
    }
    RUNNEL_DO(each->first->restore(each->index));
  }
  for (size_t i = oldest_first.size(); i-- > 0;) RUNNEL_DO(oldest_first[i].forget());
  return {};
}

}  // namespace runnel::install
