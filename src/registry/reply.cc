#include "registry/reply.h"

#include <boost/json.hpp>

#include "base/log.h"
#include "base/utf8.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

struct Mapping {
  int status;
  const char* code;
};

// Failures that no handler turned into something more exact.
Mapping mapping_of(Code code) {
  switch (code) {
    case Code::kInvalid: return {400, "UNSUPPORTED"};
    case Code::kNotFound: return {404, "NAME_UNKNOWN"};
    case Code::kExists: return {409, "CONFLICT"};
    case Code::kDenied: return {403, "DENIED"};
    case Code::kConflict: return {409, "CONFLICT"};
    case Code::kUnsupported: return {400, "UNSUPPORTED"};
    case Code::kUnavailable: return {503, "UNAVAILABLE"};
    case Code::kExhausted: return {507, "INSUFFICIENT_STORAGE"};
    case Code::kCancelled: return {503, "UNAVAILABLE"};
  }
  return {500, "UNKNOWN"};
}

}  // namespace

Refusal::Refusal(const Error& error) : status(0) {
  const auto [http_status, error_code] = mapping_of(error.code);
  status = http_status;
  code = error_code;
  message = error.message;
  if (status < 500) return;
  // The text names paths and the state of disks: for the log, not for whoever asked.
  log::error("{}", error.message);
  message = status == 507 ? "the registry's storage is full"
                          : "the registry cannot do this now; its log says why";
}

std::string to_json(const Refusal& refusal) {
  json::object error;
  error["code"] = refusal.code;
  error["message"] = to_utf8(refusal.message);  // it may name what somebody sent
  if (!refusal.detail.empty()) {
    json::error_code failed;
    auto detail = json::parse(refusal.detail, failed);
    if (!failed) error["detail"] = std::move(detail);
  }
  json::object body;
  json::array errors;
  errors.push_back(std::move(error));
  body["errors"] = std::move(errors);
  return json::serialize(body);
}

net::Response json_response(int status, std::string_view content_type, std::string json) {
  net::Response response(status);
  response.headers.add("Content-Type", std::string(content_type));
  response.body = std::move(json);
  return response;
}

net::Response response_of(Answer answer) {
  net::Response response;
  if (answer) {
    response = *std::move(answer);
  } else {
    const auto& refusal = answer.error();
    response = json_response(refusal.status, "application/json; charset=utf-8", to_json(refusal));
    for (const auto& header : refusal.headers) response.headers.add(header.name, header.value);
  }
  response.headers.add("Docker-Distribution-API-Version", "registry/2.0");
  return response;
}

uint64_t announced_size(const net::Response& response) {
  if (const auto* text = std::get_if<std::string>(&response.body)) return text->size();
  if (const auto* range = std::get_if<net::FileRange>(&response.body)) return range->length;
  return response.content_length.value_or(0);
}

void add_link(net::Response& response, std::string_view path, const net::Query& query) {
  response.headers.add("Link", fmt::format("<{}?{}>; rel=\"next\"", path, query.text()));
}

net::Query after(std::string_view last, size_t limit) {
  net::Query query;
  query.add("n", std::to_string(limit));
  query.add("last", std::string(last));
  return query;
}

bool matches_etag(const net::Request& request, std::string_view etag) {
  return request.headers.has_token("If-None-Match", etag) ||
         request.headers.has_token("If-None-Match", "*");
}

}  // namespace runnel::registry
