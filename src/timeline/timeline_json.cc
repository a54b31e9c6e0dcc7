#include "timeline/timeline_json.h"

#include <boost/json.hpp>

namespace runnel::timeline {

namespace {

namespace json = boost::json;

json::object to_value(const Segment& segment, Us begin) {
  return {{"begin_us", segment.begin - begin},
          {"length_us", segment.length()},
          {"cause", to_string(segment.cause)},
          {"what", segment.what}};
}

json::array to_value(const std::vector<Segment>& segments, Us begin) {
  json::array list;
  for (const auto& each : segments) list.push_back(to_value(each, begin));
  return list;
}

}  // namespace

std::string json_of(const Events& events, const Timeline& line) {
  json::object causes;
  for (size_t i = 0; i < kCauses; ++i) causes[to_string(static_cast<Cause>(i))] = line.by_cause[i];
  json::array longest;
  for (const auto& wait : line.longest)
    longest.push_back(json::object{{"begin_us", wait.begin - line.begin},
                                   {"length_us", wait.length()},
                                   {"what", wait.what},
                                   {"phases", to_value(wait.phases, line.begin)}});
  json::array traffic;
  for (const auto& each : line.traffic)
    traffic.push_back(json::object{{"what", each.what},
                                   {"requests", each.requests},
                                   {"bytes", each.bytes},
                                   {"time_us", each.time}});
  json::value saving = nullptr;
  if (line.saving)
    saving = json::object{{"chunks", line.saving->chunks},
                          {"bytes", line.saving->bytes},
                          {"waited_us", line.saving->waited},
                          {"transfer_us", line.saving->transfer},
                          {"saved_us", line.saving->saved()}};
  return json::serialize(json::object{{"image", events.image},
                                      {"container", events.container},
                                      {"begin_us", line.begin},
                                      {"length_us", line.length()},
                                      {"cut", line.cut},
                                      {"reads", line.reads},
                                      {"reads_waited", line.reads_waited},
                                      {"requests", line.requests},
                                      {"connections", line.connections},
                                      {"bytes", line.bytes},
                                      {"bytes_per_second", line.bytes_per_second.value_or(0)},
                                      {"causes", std::move(causes)},
                                      {"path", to_value(line.path, line.begin)},
                                      {"longest", std::move(longest)},
                                      {"idle", to_value(line.idle, line.begin)},
                                      {"traffic", std::move(traffic)},
                                      {"saving", std::move(saving)},
                                      {"notes", json::array(line.notes.begin(), line.notes.end())},
                                      {"events", json::parse(to_json(events))}});
}

}  // namespace runnel::timeline
