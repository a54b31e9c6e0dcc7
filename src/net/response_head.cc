#include "net/response_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

namespace runnel::net {

namespace {

bool allows_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::optional<uint64_t> body_length(const Response& response) {
  if (const auto* text = std::get_if<std::string>(&response.body)) return text->size();
  if (const auto* range = std::get_if<FileRange>(&response.body)) return range->length;
  return response.content_length;
}

bool has_empty_text(const Response& response) {
  const auto* text = std::get_if<std::string>(&response.body);
  return text && text->empty();
}

}  // namespace

ResponsePlan plan_response(const Response& response, const RequestTraits& request) {
  ResponsePlan plan;
  plan.keep_alive = request.keep_alive;
  plan.content_length = body_length(response);
  if (request.head && response.content_length && has_empty_text(response))
    plan.content_length = response.content_length;

  if (!allows_body(response.status)) {
    plan.framing = Framing::kNone;
    plan.content_length = std::nullopt;
  } else if (request.head) {
    plan.framing = Framing::kNone;
  } else if (plan.content_length) {
    plan.framing = Framing::kLength;
  } else if (request.http_1_0) {
    plan.framing = Framing::kUntilClose;
    plan.keep_alive = false;
  } else {
    plan.framing = Framing::kChunked;
  }
  return plan;
}

Result<void> check_response(const Response& response) {
  if (response.status < 200 || response.status > 599)
    return fail(Code::kInvalid, "{} is not a status that a handler may answer", response.status);
  for (const auto* name : {"Content-Length", "Transfer-Encoding", "Connection", "Date"})
    if (response.headers.has(name))
      return fail(Code::kInvalid, "header {} is the server's to write", name);
  const auto* range = std::get_if<FileRange>(&response.body);
  const auto* stream = std::get_if<std::unique_ptr<BodyStream>>(&response.body);
  if ((range && !range->file) || (stream && !*stream))
    return fail(Code::kInvalid, "the body is a null pointer");
  return response.headers.check();
}

std::string response_head(const Response& response, const ResponsePlan& plan,
                          const RequestTraits& request, std::string_view date) {
  std::string head;
  head.reserve(512);
  const auto add = [&head](auto... parts) { (head.append(parts), ...); };
  const fmt::format_int status(response.status);
  add("HTTP/1.1 ", status.c_str(), " ", reason_phrase(response.status), "\r\n");
  if (!response.headers.has("Server")) add("Server: runnel/" RUNNEL_VERSION "\r\n");
  add("Date: ", date, "\r\n");
  for (const auto& line : response.headers)
    add(std::string_view(line.name), ": ", std::string_view(line.value), "\r\n");

  const bool chunked =
      plan.framing == Framing::kChunked ||
      (request.head && !plan.content_length && !request.http_1_0 && allows_body(response.status));
  if (plan.content_length)
    add("Content-Length: ", fmt::format_int(*plan.content_length).c_str(), "\r\n");
  if (chunked) head += "Transfer-Encoding: chunked\r\n";
  if (!plan.keep_alive)
    head += "Connection: close\r\n";
  else if (request.http_1_0)
    head += "Connection: keep-alive\r\n";
  head += "\r\n";
  return head;
}

std::string http_date(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const std::tm parts = fmt::gmtime(static_cast<std::time_t>(seconds.time_since_epoch().count()));
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday],
                     parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                     parts.tm_min, parts.tm_sec);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "";
  }
}

}  // namespace runnel::net
