#include "remote/error_body.h"

#include <boost/json.hpp>

#include "remote/backoff.h"
#include "remote/header_values.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxText = 500;

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::string clean(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxText)) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string document_text(Bytes body) {
  boost::system::error_code broken;
  const auto document = boost::json::parse(as_text(body), broken);
  if (broken || !document.is_object()) return {};
  const auto* errors = document.as_object().if_contains("errors");
  if (errors == nullptr || !errors->is_array()) return {};

  std::string out;
  for (const auto& one : errors->as_array()) {
    if (!one.is_object() || out.size() > kMaxText) continue;
    const std::string code = text_of(one.as_object(), "code");
    const std::string message = text_of(one.as_object(), "message");
    if (code.empty() && message.empty()) continue;
    if (!out.empty()) out += "; ";
    out += fmt::format("{}{}{}", code, code.empty() || message.empty() ? "" : ": ", message);
  }
  return out;
}

const char* reason(int status) {
  switch (status) {
    case 200: return " OK";
    case 206: return " Partial Content";
    case 400: return " Bad Request";
    case 401: return " Unauthorized";
    case 403: return " Forbidden";
    case 404: return " Not Found";
    case 405: return " Method Not Allowed";
    case 413: return " Content Too Large";
    case 416: return " Range Not Satisfiable";
    case 429: return " Too Many Requests";
    case 500: return " Internal Server Error";
    case 502: return " Bad Gateway";
    case 503: return " Service Unavailable";
    case 504: return " Gateway Timeout";
    default: return "";
  }
}

}  // namespace

std::string error_text(Bytes body, std::string_view content_type) {
  if (const std::string text = document_text(body); !text.empty()) return clean(text);
  if (bare_media_type(content_type) == "text/plain") return clean(as_text(body));
  return {};
}

Code code_of_status(int status) {
  if (is_retryable_status(status) || status >= 500) {
    return status == 501 ? Code::kUnsupported : Code::kUnavailable;
  }
  switch (status) {
    case 401:
    case 403: return Code::kDenied;
    case 404:
    case 410: return Code::kNotFound;
    case 405:
    case 415: return Code::kUnsupported;
    case 409:
    case 412: return Code::kConflict;
    case 413: return Code::kExhausted;
    default: return Code::kInvalid;
  }
}

std::string status_text(int status) {
  return std::to_string(status) + reason(status);
}

}  // namespace runnel::remote
