#include "output/token.h"

#include <boost/json.hpp>
#include <charconv>

#include "base/quote.h"
#include "base/utf8.h"

namespace runnel::output {

namespace json = boost::json;

namespace {

using Kind = Token::Kind;

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> all() {
    std::vector<Token> out;
    while (true) {
      while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
      RUNNEL_TRY(auto token, next());
      const bool end = token.kind == Kind::kEnd;
      out.push_back(std::move(token));
      if (end) return out;
    }
  }

 private:
  Result<Token> next() {
    Token token;
    token.place = at_;
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (is_letter(c)) return name(std::move(token));
    if (is_digit(c) || c == '-') return number(std::move(token));
    if (c == '"') return quoted(std::move(token));
    if (c == '\'') return raw(std::move(token));
    if (c == '`') return literal(std::move(token));
    return sign(std::move(token));
  }

  Result<Token> name(Token token) {
    const size_t from = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    token.kind = Kind::kName;
    token.text = text_.substr(from, at_ - from);
    return token;
  }

  Result<Token> number(Token token) {
    const auto* begin = text_.data() + at_;
    const auto [end, problem] = std::from_chars(begin, text_.data() + text_.size(), token.number);
    if (problem != std::errc())
      return fail(Code::kInvalid, "query: at {}: not a number that fits", token.place + 1);
    at_ += static_cast<size_t>(end - begin);
    token.kind = Kind::kNumber;
    return token;
  }

  // From after the opening mark to the closing one, which is passed. `\` keeps the character after
  // it, whatever it is.
  Result<std::string_view> until(char mark, const Token& token) {
    const size_t from = ++at_;
    while (at_ < text_.size() && text_[at_] != mark)
      at_ += text_[at_] == '\\' && at_ + 1 < text_.size() ? 2 : 1;
    if (at_ >= text_.size())
      return fail(Code::kInvalid, "query: at {}: {} is never closed", token.place + 1, mark);
    return text_.substr(from, at_++ - from);
  }

  static Result<json::value> parse_json(std::string_view text, const Token& token) {
    json::error_code wrong;
    auto value = json::parse(text, wrong);
    if (wrong)
      return fail(Code::kInvalid, "query: at {}: {} is not JSON", token.place + 1, quote(text));
    return value;
  }

  Result<Token> quoted(Token token) {
    RUNNEL_TRY(const auto inside, until('"', token));
    RUNNEL_TRY(const auto value, parse_json("\"" + std::string(inside) + "\"", token));
    token.kind = Kind::kQuoted;
    token.text = value.as_string();
    return token;
  }

  // In 'text' only \' is special; in `JSON` only \`.
  static std::string unescaped(std::string_view text, char mark) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == mark) ++i;
      out += text[i];
    }
    return out;
  }

  Result<Token> raw(Token token) {
    RUNNEL_TRY(const auto inside, until('\'', token));
    token.kind = Kind::kLiteral;
    token.literal = std::make_shared<const json::value>(json::string(unescaped(inside, '\'')));
    return token;
  }

  Result<Token> literal(Token token) {
    RUNNEL_TRY(const auto inside, until('`', token));
    RUNNEL_TRY(auto value, parse_json(unescaped(inside, '`'), token));
    token.kind = Kind::kLiteral;
    token.literal = std::make_shared<const json::value>(std::move(value));
    return token;
  }

  Result<Token> sign(Token token) {
    for (const std::string_view two : {"[]", "[?", "||", "&&", "==", "!=", "<=", ">="}) {
      if (!text_.substr(at_).starts_with(two)) continue;
      at_ += two.size();
      token.kind = Kind::kSign;
      token.text = two;
      return token;
    }
    if (!std::string_view(".[]*,:{}()@|!<>").contains(text_[at_]))
      return fail(Code::kInvalid, "query: at {}: {} means nothing here", token.place + 1,
                  quote(text_.substr(at_, 1)));
    token.kind = Kind::kSign;
    token.text = text_.substr(at_++, 1);
    return token;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<std::vector<Token>> split_query(std::string_view text) {
  // What it says may come back in its answer, and JSON is UTF-8.
  if (!is_utf8(text)) return fail(Code::kInvalid, "query: it is not UTF-8");
  return Splitter(text).all();
}

}  // namespace runnel::output
