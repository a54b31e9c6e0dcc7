#include "timeline/events.h"

#include <boost/json.hpp>

namespace runnel::timeline {

namespace {

namespace json = boost::json;

constexpr Who kWho[] = {Who::kClient, Who::kNode,     Who::kToken,
                        Who::kDemand, Who::kPrefetch, Who::kBackground};
constexpr Span::Kind kKinds[] = {Span::Kind::kPreparation, Span::Kind::kStep, Span::Kind::kCall};

template <class T, size_t N>
T parse_name(const T (&all)[N], const json::value& name) {
  for (const T each : all)
    if (name.as_string() == to_string(each)) return each;
  throw std::invalid_argument("no such word: " + std::string(name.as_string()));
}

std::string text(const json::object& from, const char* name) {
  return std::string(from.at(name).as_string());
}

template <class T>
T number(const json::object& from, const char* name) {
  return from.at(name).to_number<T>();
}

json::object to_value(const Request& request) {
  return {{"number", request.number},
          {"who", to_string(request.who)},
          {"what", request.what},
          {"method", request.method},
          {"path", request.path},
          {"first", request.first},
          {"last", request.last},
          {"layer", request.layer},
          {"asked_us", request.asked},
          {"sent_us", request.sent},
          {"first_byte_us", request.first_byte},
          {"ended_us", request.ended},
          {"connected", request.connected},
          {"ranged", request.ranged},
          {"bytes", request.bytes},
          {"status", request.status},
          {"error", request.error}};
}

Request request_of(const json::object& from) {
  return {.number = number<uint64_t>(from, "number"),
          .who = parse_name(kWho, from.at("who")),
          .what = text(from, "what"),
          .method = text(from, "method"),
          .path = text(from, "path"),
          .first = number<uint64_t>(from, "first"),
          .last = number<uint64_t>(from, "last"),
          .layer = number<uint32_t>(from, "layer"),
          .asked = number<Us>(from, "asked_us"),
          .sent = number<Us>(from, "sent_us"),
          .first_byte = number<Us>(from, "first_byte_us"),
          .ended = number<Us>(from, "ended_us"),
          .connected = from.at("connected").as_bool(),
          .ranged = from.at("ranged").as_bool(),
          .bytes = number<uint64_t>(from, "bytes"),
          .status = number<int>(from, "status"),
          .error = text(from, "error")};
}

json::object to_value(const Span& span) {
  return {{"kind", to_string(span.kind)},
          {"what", span.what},
          {"detail", span.detail},
          {"begin_us", span.begin},
          {"end_us", span.end}};
}

Span span_of(const json::object& from) {
  return {.kind = parse_name(kKinds, from.at("kind")),
          .what = text(from, "what"),
          .detail = text(from, "detail"),
          .begin = number<Us>(from, "begin_us"),
          .end = number<Us>(from, "end_us")};
}

json::object to_value(const Read& read) {
  return {{"layer", read.layer},        {"chunk", read.chunk},    {"blob_offset", read.blob_offset},
          {"stored", read.stored},      {"file", read.file},      {"at_us", read.at},
          {"arrived_us", read.arrived}, {"ready_us", read.ready}, {"origin", read.origin},
          {"wait", read.wait}};
}

Read read_of(const json::object& from) {
  return {.layer = number<uint32_t>(from, "layer"),
          .chunk = number<uint32_t>(from, "chunk"),
          .blob_offset = number<uint64_t>(from, "blob_offset"),
          .stored = number<uint64_t>(from, "stored"),
          .file = text(from, "file"),
          .at = number<Us>(from, "at_us"),
          .arrived = number<Us>(from, "arrived_us"),
          .ready = number<Us>(from, "ready_us"),
          .origin = text(from, "origin"),
          .wait = text(from, "wait")};
}

template <class T>
json::array list_of(const std::vector<T>& all) {
  json::array list;
  list.reserve(all.size());
  for (const auto& each : all) list.push_back(to_value(each));
  return list;
}

}  // namespace

const char* to_string(Who who) {
  switch (who) {
    case Who::kClient: return "client";
    case Who::kNode: return "node";
    case Who::kToken: return "token";
    case Who::kDemand: return "demand";
    case Who::kPrefetch: return "prefetch";
    case Who::kBackground: return "background";
  }
  return "node";
}

const char* to_string(Span::Kind kind) {
  switch (kind) {
    case Span::Kind::kPreparation: return "preparation";
    case Span::Kind::kStep: return "step";
    case Span::Kind::kCall: return "call";
  }
  return "step";
}

std::string to_json(const Events& events) {
  return json::serialize(json::object{{"image", events.image},
                                      {"container", events.container},
                                      {"reason", events.reason},
                                      {"now_us", events.now},
                                      {"worker_started_us", events.worker_started},
                                      {"worker_restarts", events.worker_restarts},
                                      {"begun_before_worker", events.begun_before_worker},
                                      {"dropped", events.dropped},
                                      {"boot_bytes", events.boot_bytes},
                                      {"requests", list_of(events.requests)},
                                      {"spans", list_of(events.spans)},
                                      {"reads", list_of(events.reads)}});
}

Result<Events> parse_events(std::string_view text_of_all) {
  try {
    const auto document = json::parse(text_of_all);
    const auto& from = document.as_object();
    Events events{.image = text(from, "image"),
                  .container = text(from, "container"),
                  .reason = text(from, "reason"),
                  .now = number<Us>(from, "now_us"),
                  .worker_started = number<Us>(from, "worker_started_us"),
                  .worker_restarts = number<unsigned>(from, "worker_restarts"),
                  .begun_before_worker = from.at("begun_before_worker").as_bool(),
                  .dropped = number<uint64_t>(from, "dropped"),
                  .boot_bytes = number<uint64_t>(from, "boot_bytes"),
                  .requests = {},
                  .spans = {},
                  .reads = {}};
    for (const auto& each : from.at("requests").as_array())
      events.requests.push_back(request_of(each.as_object()));
    for (const auto& each : from.at("spans").as_array())
      events.spans.push_back(span_of(each.as_object()));
    for (const auto& each : from.at("reads").as_array())
      events.reads.push_back(read_of(each.as_object()));
    return events;
  } catch (const std::exception& problem) {
    return fail(Code::kInvalid, "the events of a start cannot be read: {}", problem.what());
  }
}

}  // namespace runnel::timeline
