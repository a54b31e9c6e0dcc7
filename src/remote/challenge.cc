#include "remote/challenge.h"

#include <cctype>
#include <optional>

#include "net/ascii.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxLine = 8192;
constexpr size_t kMaxChallenges = 16;

bool is_token_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  Result<std::vector<Challenge>> run() {
    std::vector<Challenge> out;
    skip_separators();
    while (!rest_.empty()) {
      if (out.size() == kMaxChallenges) return broken("too many challenges");
      RUNNEL_TRY(Challenge one, challenge());
      out.push_back(std::move(one));
    }
    if (out.empty()) return broken("it is empty");
    return out;
  }

 private:
  Result<Challenge> challenge() {
    Challenge out;
    RUNNEL_TRY(out.scheme, token());
    out.scheme = net::lower(out.scheme);
    if (skip_spaces() == 0 && !rest_.empty() && rest_.front() != ',')
      return broken("a scheme is followed by neither a space nor a comma");
    if (skip_token68()) return out;

    while (!rest_.empty()) {
      skip_separators();
      if (!at_parameter()) break;
      RUNNEL_DO(parameter(out));
      skip_spaces();
      if (!rest_.empty() && rest_.front() != ',') return broken("a comma is missing");
    }
    return out;
  }

  Result<void> parameter(Challenge& into) {
    RUNNEL_TRY(std::string name, token());
    skip_spaces();
    rest_.remove_prefix(1);  // '=': at_parameter() saw it
    skip_spaces();
    std::string value;
    if (rest_.starts_with('"')) {
      RUNNEL_TRY(value, quoted_string());
    } else {
      RUNNEL_TRY(value, token());
    }
    if (!into.parameters.emplace(net::lower(name), std::move(value)).second)
      return broken("a parameter is given twice");
    return {};
  }

  Result<std::string> token() {
    size_t length = 0;
    while (length < rest_.size() && is_token_character(rest_[length])) ++length;
    if (length == 0) return broken("a word is missing");
    std::string out(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return out;
  }

  Result<std::string> quoted_string() {
    std::string out;
    for (size_t i = 1; i < rest_.size(); ++i) {
      char c = rest_[i];
      if (c == '"') {
        rest_.remove_prefix(i + 1);
        return out;
      }
      if (c == '\\') {
        if (++i == rest_.size()) break;
        c = rest_[i];
      }
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t')
        return broken("a control character in a quoted string");
      out.push_back(c);
    }
    return broken("a quoted string does not end");
  }

  // The next thing is "name =" and not the scheme of another challenge.
  bool at_parameter() const {
    size_t i = 0;
    while (i < rest_.size() && is_token_character(rest_[i])) ++i;
    if (i == 0) return false;
    while (i < rest_.size() && (rest_[i] == ' ' || rest_[i] == '\t')) ++i;
    return i < rest_.size() && rest_[i] == '=';
  }

  // "Negotiate oYGeMIGboAMKAQ==": base64 text up to the end or a comma. We use no such scheme.
  bool skip_token68() {
    size_t i = 0;
    while (i < rest_.size() && (is_token_character(rest_[i]) || rest_[i] == '/')) ++i;
    if (i == 0) return false;
    while (i < rest_.size() && rest_[i] == '=') ++i;
    size_t end = i;
    while (end < rest_.size() && (rest_[end] == ' ' || rest_[end] == '\t')) ++end;
    if (end < rest_.size() && rest_[end] != ',') return false;
    rest_.remove_prefix(end);
    skip_separators();
    return true;
  }

  size_t skip_spaces() {
    size_t count = 0;
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) {
      rest_.remove_prefix(1);
      ++count;
    }
    return count;
  }

  void skip_separators() {
    while (!rest_.empty() &&
           (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == ','))
      rest_.remove_prefix(1);
  }

  static std::unexpected<Error> broken(std::string_view why) {
    return fail(Code::kInvalid, "WWW-Authenticate header: {}", why);
  }

  std::string_view rest_;
};

}  // namespace

std::string_view Challenge::parameter(std::string_view name) const {
  const auto found = parameters.find(std::string(name));
  return found == parameters.end() ? std::string_view() : std::string_view(found->second);
}

Result<std::vector<Challenge>> parse_challenges(std::string_view header_line) {
  if (header_line.size() > kMaxLine)
    return fail(Code::kInvalid, "WWW-Authenticate header: longer than {} bytes", kMaxLine);
  return Parser(header_line).run();
}

}  // namespace runnel::remote
