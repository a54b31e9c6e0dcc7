// HTTP header lines in the order in which they came; names compare without regard to case.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel::net {

struct Header {
  Header(std::string n, std::string v) : name(std::move(n)), value(std::move(v)) {}
  bool operator==(const Header&) const = default;

  std::string name;
  std::string value;
};

// Equal but for the case of ASCII letters.
bool same_name(std::string_view a, std::string_view b);

class Headers {
 public:
  // What a peer may send in one message.
  static constexpr size_t kMaxLines = 100;
  static constexpr size_t kMaxBytes = 64 * 1024;

  Headers() = default;
  Headers(std::initializer_list<Header> lines) : lines_(lines) {}

  void add(std::string name, std::string value);
  // Replaces every line of that name.
  void set(std::string name, std::string value);
  void remove(std::string_view name);

  // The value of the first line of that name.
  std::optional<std::string_view> first(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  bool has(std::string_view name) const { return first(name).has_value(); }
  // Whether `token` is an element of the comma-separated lists under that name (Connection, …).
  bool has_token(std::string_view name, std::string_view token) const;

  // Adds a line that a peer sent. kInvalid when it breaks the grammar, kExhausted beyond the limits
  // above.
  Result<void> add_received(std::string_view name, std::string_view value);
  // kInvalid when a line cannot be sent as it is: a name that is not a token, or a value with a
  // line break or another control character, which would add lines of somebody else's choice.
  Result<void> check() const;

  size_t size() const { return lines_.size(); }
  bool empty() const { return lines_.empty(); }
  auto begin() const { return lines_.begin(); }
  auto end() const { return lines_.end(); }
  bool operator==(const Headers&) const = default;

 private:
  std::vector<Header> lines_;
};

}  // namespace runnel::net
