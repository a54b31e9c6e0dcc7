// One line of the log and its three forms. Pure; internal to the log.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace runnel::log {

struct Line {
  Level level = Level::kInfo;
  std::string message;
  Fields fields;
};

// "debug", "info", "warning", "error".
const char* to_string(Level level);
// syslog's number: 7, 6, 4, 3.
int priority_of(Level level);

// All of them end with a newline, and have no other. Bytes that are not printable, and those that
// are no UTF-8, become \xNN.
std::string as_text_line(const Line& line, WallTime time);
std::string as_json_line(const Line& line, WallTime time);
// "<4>sentence layer=…": what systemd takes from the standard error of a service.
std::string as_prefixed_line(const Line& line);

// The datagram that systemd's journal takes (systemd: docs/JOURNAL_NATIVE_PROTOCOL.md): for each
// field NAME=value and a newline; a value with a newline in it as NAME, newline, its length as a
// 64-bit little-endian number, the value, newline.
std::string as_journal_entry(const Line& line);

}  // namespace runnel::log
