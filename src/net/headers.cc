#include "net/headers.h"

#include <algorithm>
#include <array>

#include "base/quote.h"
#include "net/ascii.h"

namespace runnel::net {

namespace {

// By a character's code: RFC 9110, 5.6.2.
constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> is{};
  for (int c = '0'; c <= '9'; ++c) is[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) is[c] = is[c - 'a' + 'A'] = true;
  for (const unsigned char c : std::string_view("!#$%&'*+-.^_`|~")) is[c] = true;
  return is;
}();

bool is_token(std::string_view text) {
  const auto is_token_char = [](unsigned char c) { return kTokenChars[c]; };
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

// RFC 9110, 5.5: visible characters, spaces, tabs and the obsolete high half. Without branches:
// every byte of every head is looked at.
bool is_value(std::string_view text) {
  bool bad = false;
  for (const unsigned char c : text) bad |= ((c < 0x20) & (c != '\t')) | (c == 0x7f);
  return !bad;
}

Result<void> check_line(std::string_view name, std::string_view value) {
  if (!is_token(name)) return fail(Code::kInvalid, "header name {} is not a token", quote(name));
  // The value may be a secret: it is not shown.
  if (!is_value(value))
    return fail(Code::kInvalid, "the value of header {} has a control character in it", name);
  return {};
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

void Headers::add(std::string name, std::string value) {
  constexpr size_t kUsual = 12;
  if (lines_.empty()) lines_.reserve(kUsual);
  lines_.emplace_back(std::move(name), std::move(value));
}

void Headers::set(std::string name, std::string value) {
  remove(name);
  add(std::move(name), std::move(value));
}

void Headers::remove(std::string_view name) {
  std::erase_if(lines_, [&](const Header& line) { return same_name(line.name, name); });
}

std::optional<std::string_view> Headers::first(std::string_view name) const {
  for (const auto& line : lines_)
    if (same_name(line.name, name)) return line.value;
  return std::nullopt;
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& line : lines_)
    if (same_name(line.name, name)) values.push_back(line.value);
  return values;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (std::string_view rest : all(name)) {
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      if (same_name(trimmed(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

Result<void> Headers::add_received(std::string_view name, std::string_view value) {
  value = trimmed(value);
  RUNNEL_DO(check_line(name, value));
  size_t bytes = name.size() + value.size();
  for (const auto& line : lines_) bytes += line.name.size() + line.value.size();
  if (lines_.size() >= kMaxLines || bytes > kMaxBytes)
    return fail(Code::kExhausted, "more than {} header lines or {} bytes of them", kMaxLines,
                kMaxBytes);
  add(std::string(name), std::string(value));
  return {};
}

Result<void> Headers::check() const {
  for (const auto& line : lines_) RUNNEL_DO(check_line(line.name, line.value));
  return {};
}

}  // namespace runnel::net
