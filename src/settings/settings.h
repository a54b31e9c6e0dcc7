// settings/ reads the configuration files of the roles: TOML that begins with "version = 1".
//
// A role describes its keys once, in a Section that points to where each value goes. Whatever the
// description does not have is an error that names the file and the line: a misspelt key that is
// silently ignored is a setting that somebody believes in.
//
// It does not hold: what the keys are (registry/config, node/config), flags and environment
// (apps/runnel). A Section belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel::settings {

struct Value;

// The keys of one table. What is pointed to must live until read() has returned; it keeps its value
// when the file does not have the key.
class Section {
 public:
  Section& text(std::string key, std::string& into);
  Section& flag(std::string key, bool& into);
  Section& choice(std::string key, std::function<void(bool)> take);
  // A whole number in [least, most].
  Section& number(std::string key, int64_t least, int64_t most, std::function<void(int64_t)> take);
  // A text with a meaning of its own: the error says what it should have been.
  Section& meaning(std::string key, std::function<Result<void>(const std::string&)> take);
  // A list of texts, likewise.
  Section& texts(std::string key, std::function<Result<void>(std::vector<std::string>)> take);
  // [key]
  Section& section(std::string key, Section keys);
  // [key."NAME"], as often as there are names; `make` gives the keys of one.
  Section& each(std::string key, std::function<Section(const std::string& name)> make);
  // [key] with names that are not known before, each with a text.
  Section& each_text(
      std::string key,
      std::function<Result<void>(const std::string& name, const std::string& value)> take);

 private:
  friend Result<void> read(const Section&, std::string_view, std::string_view);
  // May return an error that names a place of its own; others get the key's.
  using Setter = std::function<Result<void>(const Value&)>;
  Section& add(std::string key, Setter setter);
  Result<void> apply(const Value& table) const;

  std::vector<std::pair<std::string, Setter>> setters_;
};

// Reads `text`; `name` stands for the file in messages ("NAME:LINE: …"). kInvalid for what is not
// TOML, has no "version = 1" as its first key, a key that no Section has, or a value that makes no
// sense; some of the values may have been set then.
Result<void> read(const Section& keys, std::string_view text, std::string_view name);
// A configuration file's text, of at most 1 MiB.
Result<std::string> read_text(const std::string& path);

}  // namespace runnel::settings
