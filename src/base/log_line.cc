#include "base/log_line.h"

#include <fmt/chrono.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/utf8.h"

namespace runnel::log {

namespace {

// A datagram to the journal must fit the socket's buffer (about 200 KiB by default).
constexpr size_t kMaxValue = 16 * 1024;

// How many bytes the character at the front has; 0 when it is none, or a control character.
size_t printable_prefix(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t size = utf8_size(text);
  if (size == 1) return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
  const bool c1 = size == 2 && byte(0) == 0xc2 && byte(1) < 0xa0;
  return c1 ? 0 : size;
}

// On one line, in UTF-8, of bounded length.
std::string printable(std::string_view text) {
  std::string result;
  const auto kept = text.substr(0, kMaxValue);
  for (size_t at = 0; at < kept.size();) {
    const size_t size = printable_prefix(kept.substr(at));
    if (size == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(kept[at]));
    } else {
      result += kept.substr(at, size);
    }
    at += std::max<size_t>(size, 1);
  }
  if (kept.size() < text.size()) result += "…";
  return result;
}

// In double quotes when the reader could not see where it ends.
std::string field_value(std::string_view value) {
  auto text = printable(value);
  if (!text.empty() && text.find_first_of(" \"=") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string sentence(const Line& line) {
  auto text = printable(line.message);
  for (const auto& [name, value] : line.fields) {
    text += fmt::format(" {}={}", name, field_value(value));
  }
  return text;
}

std::string time_text(WallTime time) {
  const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(time);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(milliseconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (milliseconds - seconds).count());
}

std::string json_text(std::string_view value) {
  std::string quoted = "\"";
  for (const char c : printable(value)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

void add_entry(std::string& entry, const std::string& name, std::string_view value) {
  entry += name;
  if (value.find('\n') == std::string_view::npos) {
    entry += '=';
  } else {
    std::byte size[8];
    store_le<uint64_t>(size, value.size());
    entry += '\n';
    entry += runnel::as_text(size);
  }
  entry += value;
  entry += '\n';
}

// "layer" is RUNNEL_LAYER: names of the journal are upper case.
std::string journal_name(std::string_view name) {
  std::string result = "RUNNEL_";
  for (const char c : name) {
    result += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return result;
}

}  // namespace

const char* to_string(Level level) {
  switch (level) {
    case Level::kDebug: return "debug";
    case Level::kInfo: return "info";
    case Level::kWarning: return "warning";
    case Level::kError: return "error";
  }
  return "error";
}

int priority_of(Level level) {
  switch (level) {
    case Level::kDebug: return 7;
    case Level::kInfo: return 6;
    case Level::kWarning: return 4;
    case Level::kError: return 3;
  }
  return 3;
}

std::string as_text_line(const Line& line, WallTime time) {
  return fmt::format("{} {} {}\n", time_text(time), to_string(line.level), sentence(line));
}

std::string as_prefixed_line(const Line& line) {
  return fmt::format("<{}>{}\n", priority_of(line.level), sentence(line));
}

std::string as_json_line(const Line& line, WallTime time) {
  auto text = fmt::format(R"({{"time":"{}","level":"{}","message":{})", time_text(time),
                          to_string(line.level), json_text(line.message));
  for (const auto& [name, value] : line.fields) {
    text += fmt::format(",{}:{}", json_text(name), json_text(value));
  }
  return text + "}\n";
}

std::string as_journal_entry(const Line& line) {
  std::string entry;
  add_entry(entry, "MESSAGE", std::string_view(line.message).substr(0, kMaxValue));
  add_entry(entry, "PRIORITY", std::to_string(priority_of(line.level)));
  add_entry(entry, "SYSLOG_IDENTIFIER", "runnel");
  for (const auto& [name, value] : line.fields) {
    add_entry(entry, journal_name(name), std::string_view(value).substr(0, kMaxValue));
  }
  return entry;
}

}  // namespace runnel::log
