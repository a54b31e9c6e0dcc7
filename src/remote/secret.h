// A password or a token, kept out of logs by having no way into them.
#pragma once

#include <string>
#include <utility>

namespace runnel::remote {

// No formatter, no stream operator, no conversion: whoever needs the text says reveal(), and only
// what writes an Authorization header or a token request does.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}

  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

  bool operator==(const Secret&) const = default;

 private:
  std::string text_;
};

}  // namespace runnel::remote
