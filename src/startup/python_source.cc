#include "startup/python_source.h"

#include <algorithm>
#include <array>
#include <optional>

namespace runnel::startup {

namespace {

constexpr size_t kMaxImports = 4096;
constexpr size_t kMaxLine = 64 << 10;  // of what is kept of a logical line

bool is_name_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
         (byte >= 'A' && byte <= 'Z') || byte == '_' || byte >= 0x80;
}

// Cuts a source into logical lines: without comments and the content of strings, brackets and
// backslashes joined.
class LogicalLines {
 public:
  explicit LogicalLines(std::string_view source) : rest_(source) {}

  struct Line {
    size_t indent = 0;
    std::string text;
  };

  std::optional<Line> next() {
    while (!rest_.empty()) {
      auto line = take();
      if (!line.text.empty()) return line;
    }
    return std::nullopt;
  }

 private:
  Line take() {
    Line line;
    line.indent = std::min(rest_.find_first_not_of(" \t\f"), rest_.size());
    rest_.remove_prefix(line.indent);
    int depth = 0;
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (c == '#') {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (c == '"' || c == '\'') {
        skip_string();
        keep(line, '"');
      } else if (c == '\n' && depth == 0) {
        rest_.remove_prefix(1);
        break;
      } else {
        if (c == '(' || c == '[' || c == '{') ++depth;
        if ((c == ')' || c == ']' || c == '}') && depth > 0) --depth;
        const bool joins = c == '\\' && rest_.size() > 1 && rest_[1] == '\n';
        rest_.remove_prefix(joins ? 2 : 1);
        keep(line, joins || c == '\n' || c == '\r' || c == '\t' ? ' ' : c);
      }
    }
    while (!line.text.empty() && line.text.back() == ' ') line.text.pop_back();
    return line;
  }

  static void keep(Line& line, char c) {
    if (line.text.size() < kMaxLine) line.text.push_back(c);
  }

  void skip_string() {
    const char quote = rest_.front();
    const std::array<char, 3> triple = {quote, quote, quote};
    const std::string_view three(triple.data(), triple.size());
    const bool is_long = rest_.starts_with(three);
    rest_.remove_prefix(is_long ? 3 : 1);
    while (!rest_.empty()) {
      if (is_long && rest_.starts_with(three)) return rest_.remove_prefix(3);
      const char c = rest_.front();
      if (!is_long && c == '\n') return;  // not closed: an error to Python, no end of ours
      rest_.remove_prefix(c == '\\' && rest_.size() > 1 ? 2 : 1);
      if (!is_long && c == quote) return;
    }
  }

  std::string_view rest_;
};

// Reads one statement's words.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  // A dotted name, or "" when something else comes.
  std::string name() {
    skip_spaces();
    size_t end = 0;
    while (end < rest_.size() && (is_name_char(rest_[end]) || rest_[end] == '.')) ++end;
    std::string out(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return out;
  }
  bool take(std::string_view what) {
    skip_spaces();
    if (!rest_.starts_with(what)) return false;
    const bool is_word = is_name_char(what.back());
    if (is_word && rest_.size() > what.size() && is_name_char(rest_[what.size()])) return false;
    rest_.remove_prefix(what.size());
    return true;
  }
  std::string_view rest() {
    skip_spaces();
    return rest_;
  }

 private:
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  std::string_view rest_;
};

class Scan {
 public:
  explicit Scan(PythonSource kind) : kind_(kind) {}

  std::vector<PythonImport> run(std::string_view source) {
    LogicalLines lines(source);
    while (const auto line = lines.next()) {
      if (skipped_below_ && line->indent > *skipped_below_) continue;
      skipped_below_.reset();
      if (is_never_run(line->text)) {
        skipped_below_ = line->indent;
        continue;
      }
      statements(line->text);
      if (imports_.size() >= kMaxImports) break;
    }
    return std::move(imports_);
  }

 private:
  bool is_never_run(std::string_view text) const {
    if (text.starts_with("def ") || text.starts_with("async def ")) return true;
    Words words(text);
    if (!words.take("if")) return false;
    if (words.take("TYPE_CHECKING") || words.take("typing.TYPE_CHECKING")) return true;
    return kind_ == PythonSource::kModule && words.take("__name__");
  }

  // "try: import a; import b"
  void statements(std::string_view text) {
    constexpr std::array<std::string_view, 8> kOpeners = {"try", "else", "except", "finally",
                                                          "if",  "elif", "with",   "class"};
    const bool opens = std::ranges::any_of(
        kOpeners, [&](std::string_view opener) { return Words(text).take(opener); });
    if (opens) text.remove_prefix(std::min(text.rfind(": ") + 1, text.size()));
    while (!text.empty()) {
      const auto end = std::min(text.find(';'), text.size());
      statement(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  void statement(std::string_view text) {
    Words words(text);
    if (words.take("import")) {
      do {
        auto module = words.name();
        if (words.take("as")) words.name();
        add({.level = 0, .module = std::move(module), .names = {}});
      } while (words.take(","));
    } else if (words.take("from")) {
      PythonImport import;
      auto module = words.name();
      import.level = std::min(module.find_first_not_of('.'), module.size());
      import.module = module.substr(import.level);
      if (!words.take("import")) return;
      words.take("(");
      do {
        auto name = words.name();
        if (words.take("as")) words.name();
        if (!name.empty()) import.names.push_back(std::move(name));
      } while (words.take(","));
      add(std::move(import));
    }
  }

  void add(PythonImport import) {
    const bool is_dotted_name = !import.module.starts_with('.') && !import.module.ends_with('.') &&
                                import.module.find("..") == std::string::npos;
    if (!is_dotted_name || (import.module.empty() && import.level == 0)) return;
    if (imports_.size() < kMaxImports) imports_.push_back(std::move(import));
  }

  const PythonSource kind_;
  std::vector<PythonImport> imports_;
  std::optional<size_t> skipped_below_;  // lines that stand farther in
};

}  // namespace

std::vector<PythonImport> python_imports(std::string_view source, PythonSource kind) {
  return Scan(kind).run(source);
}

}  // namespace runnel::startup
