#include "startup/javascript_source.h"

#include <algorithm>
#include <set>

namespace runnel::startup {

namespace {

constexpr size_t kMaxImports = 4096;
constexpr size_t kMaxName = 1024;

bool is_word_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '$';
}

class Scan {
 public:
  explicit Scan(std::string_view source) : rest_(source) {}

  std::vector<std::string> run() {
    while (!rest_.empty() && out_.size() < kMaxImports) step();
    return std::move(out_);
  }

 private:
  void step() {
    const char c = rest_.front();
    if (rest_.starts_with("//")) {
      rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
    } else if (rest_.starts_with("/*")) {
      const auto end = rest_.find("*/", 2);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 2);
    } else if (c == '"' || c == '\'' || c == '`') {
      const auto text = string();
      if (asks_ && c != '`') add(text);
      asks_ = false;
    } else if (is_word_char(c)) {
      size_t end = 0;
      while (end < rest_.size() && is_word_char(rest_[end])) ++end;
      const auto word = rest_.substr(0, end);
      asks_ = word == "require" || word == "import" || word == "from";
      opened_ = false;
      rest_.remove_prefix(end);
    } else {
      // Between the word and its string there may be blanks and one bracket.
      const bool is_blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
      if (c == '(' && !opened_) {
        opened_ = true;
      } else if (!is_blank) {
        asks_ = false;
      }
      rest_.remove_prefix(1);
    }
  }

  std::string_view string() {
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != quote) {
      if (quote != '`' && rest_[end] == '\n') break;
      end += rest_[end] == '\\' ? 2 : 1;
    }
    end = std::min(end, rest_.size());
    const auto text = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return text;
  }

  void add(std::string_view name) {
    if (name.empty() || name.size() > kMaxName || !known_.emplace(name).second) return;
    out_.emplace_back(name);
  }

  std::string_view rest_;
  bool asks_ = false;    // a string now would be a module's name
  bool opened_ = false;  // after that word's bracket
  std::set<std::string, std::less<>> known_;
  std::vector<std::string> out_;
};

}  // namespace

std::vector<std::string> javascript_imports(std::string_view source) {
  return Scan(source).run();
}

}  // namespace runnel::startup
