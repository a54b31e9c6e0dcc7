#include "snapshot/filter.h"

#include <re2/re2.h>

#include <algorithm>
#include <optional>

#include "base/quote.h"

namespace runnel::snapshot {

namespace {

constexpr size_t kMaxFilters = 128;
constexpr size_t kMaxFilterSize = 4096;
constexpr int64_t kMaxPatternMemory = 1 << 20;

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kView: return "view";
    case Kind::kActive: return "active";
    case Kind::kCommitted: return "committed";
  }
  return "unknown";
}

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 16;
}

// False for what is no Unicode scalar value.
bool append_utf8(std::string& out, uint32_t rune) {
  if (rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff)) return false;
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xc0 | rune >> 6);
    put(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    put(0xe0 | rune >> 12);
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  } else {
    put(0xf0 | rune >> 18);
    put(0x80 | (rune >> 12 & 0x3f));
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  }
  return true;
}

Result<std::shared_ptr<const re2::RE2>> compile(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxPatternMemory);
  auto compiled = std::make_shared<const re2::RE2>(pattern, options);
  if (!compiled->ok()) {
    return fail(Code::kInvalid, "filter: {} is no regular expression: {}", quote(pattern),
                compiled->error());
  }
  return compiled;
}

}  // namespace

// Reads one filter from front to back.
class Filters::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<All> all() {
    All all;
    skip_space();
    if (at_end()) return all;
    for (;;) {
      RUNNEL_TRY(auto each, selector());
      all.push_back(std::move(each));
      skip_space();
      if (at_end()) return all;
      if (!take(',')) return unexpected("a comma");
    }
  }

 private:
  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(char wanted) {
    if (at_end() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (!at_end() && is_space(text_[at_])) ++at_;
  }
  std::unexpected<Error> unexpected(std::string_view wanted) const {
    return fail(Code::kInvalid, "filter {}: expected {} at byte {}", quote(text_), wanted, at_);
  }

  Result<Selector> selector() {
    Selector out;
    RUNNEL_DO(field(out));
    skip_space();
    if (at_end() || peek() == ',') return out;
    RUNNEL_TRY(out.op, op());
    skip_space();
    RUNNEL_TRY(out.value, value(out.op == Operator::kMatch));
    if (out.op != Operator::kMatch) return out;
    RUNNEL_TRY(out.pattern, compile(out.value));
    return out;
  }

  Result<void> field(Selector& out) {
    skip_space();
    RUNNEL_TRY(const auto name, part());
    if (name == "labels") {
      out.field = Field::kLabel;
      if (peek() != '.') return unexpected("'.' and a label");
      while (take('.')) {
        RUNNEL_TRY(const auto next, part());
        if (!out.label.empty()) out.label += '.';
        out.label += next;
      }
      return {};
    }
    if (name == "name") {
      out.field = Field::kName;
    } else if (name == "parent") {
      out.field = Field::kParent;
    } else if (name == "kind") {
      out.field = Field::kKind;
    } else {
      return fail(Code::kInvalid,
                  "filter {}: snapshots have no field {}; there are name, parent, kind, labels",
                  quote(text_), quote(name));
    }
    return {};
  }

  Result<std::string> part() {
    if (take('"')) return quoted('"');
    const size_t start = at_;
    while (is_word(peek())) ++at_;
    if (at_ == start) return unexpected("a field");
    return std::string(text_.substr(start, at_ - start));
  }

  Result<Operator> op() {
    const auto symbol = text_.substr(at_, 2);
    const char third = at_ + 2 < text_.size() ? text_[at_ + 2] : ' ';
    if (third == '=' || third == '!' || third == '~') return unexpected("\"==\", \"!=\" or \"~=\"");
    at_ += symbol.size();
    if (symbol == "==") return Operator::kEqual;
    if (symbol == "!=") return Operator::kNotEqual;
    if (symbol == "~=") return Operator::kMatch;
    at_ -= symbol.size();
    return unexpected("\"==\", \"!=\" or \"~=\"");
  }

  Result<std::string> value(bool pattern) {
    if (take('"')) return quoted('"');
    if (peek() == '/' || peek() == '|') {
      if (!pattern) return unexpected("a value");  // these quotes are for patterns
      return quoted(text_[at_++]);
    }
    const size_t start = at_;
    if (peek() == '.') return unexpected("a value");
    while (!at_end() && peek() != ',' && !is_space(peek())) ++at_;
    if (at_ == start) return unexpected("a value");
    return std::string(text_.substr(start, at_ - start));
  }

  // After the opening quote.
  Result<std::string> quoted(char end) {
    std::string out;
    for (;;) {
      if (at_end() || peek() == '\n') return unexpected("the closing quote");
      const char c = text_[at_++];
      if (c == end) return out;
      if (c == '\\') {
        RUNNEL_DO(escape(end, out));
      } else {
        out += c;
      }
    }
  }

  // After the backslash.
  Result<void> escape(char end, std::string& out) {
    constexpr std::string_view kLetters = "abfnrtv\\";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\";
    const char c = peek();
    if (at_end()) return unexpected("an escape");
    if (c >= '0' && c <= '7') return number(8, 3, out);
    ++at_;
    if (const auto found = kLetters.find(c); found != kLetters.npos) {
      out += kMeanings[found];
      return {};
    }
    if (c == end) {
      out += c;
      return {};
    }
    if (c == 'x') return number(16, 2, out);
    if (c == 'u') return number(16, 4, out);
    if (c == 'U') return number(16, 8, out);
    return unexpected("an escape that Go knows");
  }

  Result<void> number(int base, int digits, std::string& out) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = at_end() ? 16 : digit_of(text_[at_]);
      if (digit >= base) return unexpected("a digit");
      value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit);
      ++at_;
    }
    const bool is_byte = digits < 4;
    if (is_byte && value > 0xff) return unexpected("an escape of one byte");
    if (is_byte) {
      out += static_cast<char>(value);
    } else if (!append_utf8(out, value)) {
      return unexpected("a Unicode character");
    }
    return {};
  }

  const std::string_view text_;
  size_t at_ = 0;
};

Result<Filters> Filters::parse(std::span<const std::string> filters) {
  if (filters.size() > kMaxFilters) {
    return fail(Code::kInvalid, "{} filters; at most {} are allowed", filters.size(), kMaxFilters);
  }
  Filters out;
  for (const auto& text : filters) {
    if (text.size() > kMaxFilterSize) {
      return fail(Code::kInvalid, "filter of {} bytes; at most {} are allowed", text.size(),
                  kMaxFilterSize);
    }
    RUNNEL_TRY(auto all, Parser(text).all());
    out.any_.push_back(std::move(all));
  }
  return out;
}

std::optional<std::string> Filters::parent() const {
  if (any_.size() != 1) return std::nullopt;
  const auto said = std::ranges::find_if(any_.front(), [](const Selector& selector) {
    return selector.field == Field::kParent && selector.op == Operator::kEqual;
  });
  if (said == any_.front().end()) return std::nullopt;
  return said->value;
}

bool Filters::match(const Info& info) const {
  if (any_.empty()) return true;
  return std::ranges::any_of(any_, [&](const All& all) {
    return std::ranges::all_of(all, [&](const Selector& each) { return each.match(info); });
  });
}

// Name, parent and kind are always there, if empty; an absent label is "" to "!=" and "~=".
bool Filters::Selector::match(const Info& info) const {
  std::string_view found;
  bool present = true;
  switch (field) {
    case Field::kName: found = info.name; break;
    case Field::kParent: found = info.parent; break;
    case Field::kKind: found = kind_name(info.kind); break;
    case Field::kLabel:
      const auto at = info.labels.find(label);
      present = at != info.labels.end();
      if (present) found = at->second;
  }
  switch (op) {
    case Operator::kPresent: return present;
    case Operator::kEqual: return present && found == value;
    case Operator::kNotEqual: return found != value;
    case Operator::kMatch: return re2::RE2::PartialMatch({found.data(), found.size()}, *pattern);
  }
  return false;
}

}  // namespace runnel::snapshot
