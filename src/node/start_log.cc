#include "node/start_log.h"

#include <algorithm>
#include <set>
#include <utility>

#include "net/url.h"

namespace runnel::node {

namespace {

// Between the client's first request and the manifest that tells which image it wants.
constexpr Duration kBefore = std::chrono::seconds(10);
constexpr size_t kMaxText = 1024;

// "registry.example:5000/team/app" of http://registry.example:5000/v2/team/app/manifests/v1; empty
// when it is no such address.
std::string repository_of_url(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == url.npos) return {};
  url.remove_prefix(scheme + 3);
  constexpr std::string_view kApi = "/v2/";
  const auto api = url.find(kApi);
  if (api == url.npos) return {};
  const auto path = url.substr(api + kApi.size());
  for (const std::string_view kind : {"/manifests/", "/blobs/", "/referrers/", "/tags/"}) {
    const auto end = path.rfind(kind);
    if (end != path.npos) return fmt::format("{}/{}", url.substr(0, api), path.substr(0, end));
  }
  return {};
}

// What a client asks before the image is known, and what the node asks for it since it was
// `expected`. Its other requests are of an earlier start.
bool led_to_it(const net::TransferReport& report, SteadyTime expected) {
  const std::string_view purpose = report.purpose;
  if (purpose == "node") return expected != SteadyTime() && report.asked >= expected;
  return purpose.empty() || purpose == "token";
}

// When the client's latest pull began, as far as its requests tell: it asks for a manifest again
// that it has been given. Earlier pulls may have found everything here, and prepared nothing.
SteadyTime latest_pull(const std::map<uint64_t, net::TransferReport>& requests) {
  SteadyTime began{};
  std::set<std::pair<std::string_view, std::string_view>> given;
  for (const auto& [number, report] : requests) {
    const bool of_client = std::string_view(report.purpose).empty();
    if (!of_client || report.url.find("/manifests/") == report.url.npos) continue;
    const std::pair<std::string_view, std::string_view> asked(report.method, report.url);
    if (given.contains(asked)) {
      began = report.asked;
      given.clear();
    }
    if (report.status / 100 == 2 && report.error.empty()) given.insert(asked);
  }
  return began;
}

}  // namespace

timeline::Us microseconds(SteadyTime time) {
  if (time == SteadyTime()) return timeline::kNone;
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

StartLog::Record& StartLog::record_locked(const std::string& repository) {
  if (!records_.contains(repository) && records_.size() >= kMaxStarts) {
    records_.erase(std::ranges::min_element(records_, {},
                                            [](const auto& entry) { return entry.second.used; }));
  }
  auto& record = records_[repository];
  record.used = clock_.now();
  return record;
}

void StartLog::transfer(const net::TransferReport& report) {
  const auto repository = report.about.empty() ? repository_of_url(report.url) : report.about;
  if (repository.empty()) return;
  const std::lock_guard lock(mutex_);
  auto& record = record_locked(repository);
  const auto found = record.requests.find(report.number);
  if (found != record.requests.end()) {
    found->second = report;
    if (found->second.url.size() > kMaxText) found->second.url.resize(kMaxText);
    return;
  }
  if (report.ended != SteadyTime()) return;  // its beginning had no room
  const bool full = record.requests.size() >= kMaxRequests;
  if (full && record.since != SteadyTime()) {
    ++record.dropped;
  } else {
    if (full) record.requests.erase(record.requests.begin());
    auto& kept = record.requests[report.number] = report;
    if (kept.url.size() > kMaxText) kept.url.resize(kMaxText);
  }
}

uint64_t StartLog::call_begun(const char* call, const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (calls_.size() >= kMaxCalls) calls_.pop_front();
  calls_.push_back({.number = ++last_number_,
                    .span = {.kind = timeline::Span::Kind::kCall,
                             .what = call,
                             .detail = name.substr(0, kMaxText),
                             .begin = microseconds(clock_.now())}});
  return last_number_;
}

void StartLog::call_ended(uint64_t number, const char* code) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::lower_bound(calls_, number, {}, &Noted::number);
  if (found == calls_.end() || found->number != number) return;
  found->span.end = microseconds(clock_.now());
  found->span.detail += fmt::format(": {}", code);
}

void StartLog::expect(const std::string& repository) {
  const std::lock_guard lock(mutex_);
  auto& expected = record_locked(repository).expected;
  const auto now = clock_.now();
  if (expected == SteadyTime() || now - expected > kBefore) expected = now;
}

void StartLog::begin(const std::string& repository) {
  const std::lock_guard lock(mutex_);
  auto& record = record_locked(repository);
  // An earlier start's requests came before its preparation had ended.
  auto since = clock_.now() - kBefore;
  for (const auto& step : record.steps) {
    const bool over =
        step.span.kind == timeline::Span::Kind::kPreparation && step.span.end != timeline::kNone;
    if (over) since = std::max(since, SteadyTime(std::chrono::microseconds(step.span.end)));
  }
  since = std::max(since, latest_pull(record.requests));
  record.since = since;
  std::erase_if(record.requests, [&](const auto& each) {
    return each.second.asked < since || !led_to_it(each.second, record.expected);
  });
  record.expected = {};
  std::erase_if(record.steps, [&](const Noted& each) {
    return each.span.end != timeline::kNone && each.span.end <= microseconds(since);
  });
  record.dropped = 0;
}

uint64_t StartLog::step_begun(const std::string& repository, timeline::Span::Kind kind,
                              const char* what) {
  const std::lock_guard lock(mutex_);
  auto& record = record_locked(repository);
  if (record.steps.size() >= kMaxSteps) {
    ++record.dropped;
    return 0;
  }
  record.steps.push_back(
      {.number = ++last_number_,
       .span = {.kind = kind, .what = what, .detail = {}, .begin = microseconds(clock_.now())}});
  return last_number_;
}

void StartLog::step_ended(const std::string& repository, uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto record = records_.find(repository);
  if (record == records_.end()) return;
  auto& steps = record->second.steps;
  const auto found = std::ranges::find(steps, number, &Noted::number);
  if (found != steps.end()) found->span.end = microseconds(clock_.now());
}

StartLog::Step::Step(StartLog* log, std::string repository, timeline::Span::Kind kind,
                     const char* what)
    : log_(log), repository_(std::move(repository)) {
  if (log_ != nullptr) number_ = log_->step_begun(repository_, kind, what);
}

StartLog::Step::~Step() {
  if (log_ != nullptr) log_->step_ended(repository_, number_);
}

StartLog::Start StartLog::start(const std::string& repository, std::string_view authority) const {
  const auto slash = repository.find('/');
  const auto asked_by_mirror = fmt::format(
      "{}{}", authority, std::string_view(repository).substr(std::min(slash, repository.size())));
  Start start;
  const std::lock_guard lock(mutex_);
  const auto prepared = records_.find(repository);
  const auto since = prepared == records_.end() ? SteadyTime() : prepared->second.since;
  const auto add = [&](const std::string& key) {
    const auto found = records_.find(key);
    if (found == records_.end()) return;
    for (const auto& [number, report] : found->second.requests)
      if (report.asked >= since) start.requests.push_back(report);
    for (const auto& step : found->second.steps) start.steps.push_back(step.span);
    start.dropped += found->second.dropped;
  };
  add(repository);
  if (asked_by_mirror != repository) add(asked_by_mirror);
  return start;
}

std::vector<timeline::Span> StartLog::calls(const std::vector<std::string>& names) const {
  std::vector<timeline::Span> found;
  const std::lock_guard lock(mutex_);
  for (const auto& call : calls_) {
    const bool meant = std::ranges::any_of(names, [&](const std::string& name) {
      return call.span.detail.find(name) != std::string::npos;
    });
    if (meant) found.push_back(call.span);
  }
  return found;
}

}  // namespace runnel::node
