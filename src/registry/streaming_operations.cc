// Conversions that were asked for: looking at one, cancelling it, listing them.
#include <algorithm>
#include <charconv>
#include <limits>

#include "base/quote.h"
#include "net/url.h"
#include "registry/operation_json.h"
#include "registry/streaming_call.h"
#include "registry/streaming_settings.h"

namespace runnel::registry {

using access::Action;
using meta::Operation;

namespace {

constexpr size_t kMaxPage = 1000;
// Operations that one request looks through for those that its caller may see: some milliseconds.
constexpr size_t kMaxLookedAt = 2000;
constexpr size_t kBatch = 100;

std::expected<Operation, Refusal> find_operation(const StreamingCall& call) {
  RUNNEL_TRY(auto found, call.queue().operation(call.target.rest));
  if (!found || found->repository != call.target.repository)
    return std::unexpected(no_such_operation());
  return *std::move(found);
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Page {
  meta::OperationFilter filter;
  int64_t before = std::numeric_limits<int64_t>::max();
  size_t limit = 100;
};

std::expected<Page, Refusal> page_of(const net::Request& request) {
  const auto& query = request.query;
  Page page;
  page.filter.repository = query.first("repository").value_or("");
  if (const auto text = query.first("status"); text && !text->empty()) {
    page.filter.status = parse_status(*text);
    if (!page.filter.status)
      return refuse(400, "UNSUPPORTED",
                    fmt::format("{} is not NotStarted, Running, Succeeded, Failed or Canceled",
                                quote(*text)));
  }
  const auto before = number(query.first("before").value_or(std::to_string(page.before)));
  const auto n = number(query.first("n").value_or("100"));
  if (!before || !n)
    return refuse(400, "PAGINATION_NUMBER_INVALID", "\"n\" and \"before\" are numbers");
  page.before = *before;
  page.limit = std::clamp<size_t>(static_cast<size_t>(*n), 1, kMaxPage);
  return page;
}

struct Listed {
  std::vector<Operation> operations;
  std::optional<int64_t> next;  // where the next page begins
};

// A page of operations that the caller may see: fewer than it asks for also when it may not see
// those that a request has time for.
Result<Listed> visible(const StreamingCall& call, const Page& page) {
  Listed listed;
  const auto& only = page.filter.repository;
  if (!only.empty() && !call.caller.may(Action::kContentRead, only)) return listed;
  const size_t batch = std::max(page.limit + 1, kBatch);
  auto before = page.before;
  for (size_t looked_at = 0; looked_at < kMaxLookedAt; looked_at += batch) {
    RUNNEL_TRY(auto some, call.queue().operations(page.filter, before, batch));
    for (auto& each : some) {
      if (listed.operations.size() == page.limit) {
        listed.next = before;
        return listed;
      }
      before = each.position;
      if (call.caller.may(Action::kContentRead, each.repository))
        listed.operations.push_back(std::move(each));
    }
    if (some.size() < batch) return listed;
  }
  listed.next = before;
  return listed;
}

}  // namespace

Answer show_operation(const StreamingCall& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  const auto& repository = call.target.repository;
  RUNNEL_TRY(const auto settings, load_streaming_settings(call.services.metadata, repository));
  if (settings.change_id == call.target.rest)
    return json_response(200, kStreamingJson, switch_operation_json(repository, settings));
  RUNNEL_TRY(const auto operation, find_operation(call));
  return json_response(200, kStreamingJson, operation_json(operation));
}

Answer cancel_operation(const StreamingCall& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  RUNNEL_DO(check(call, Action::kContentWrite, no_such_operation()));
  RUNNEL_TRY(const auto before, find_operation(call));
  RUNNEL_TRY(const auto outcome, call.conversions.cancel(before.id));
  RUNNEL_TRY(const auto after, find_operation(call));
  if (outcome == meta::CancelOutcome::kPublishing)
    return refuse(409, "CONFLICT", "the conversion is done and its artifact becomes visible now");
  if (after.status != meta::OperationStatus::kCanceled)
    return refuse(409, "CONFLICT",
                  fmt::format("the operation has ended: it is {}", status_name(after.status)));
  return json_response(200, kStreamingJson, operation_json(after, "Cancel: "));
}

Answer list_operations(const StreamingCall& call) {
  const auto* gate = call.services.gate;
  if (gate != nullptr && call.caller.is_anonymous())
    return std::unexpected(gate->unauthorized(call.request, "", "", "log in to see operations"));
  RUNNEL_TRY(const auto page, page_of(call.request));
  RUNNEL_TRY(const auto found, visible(call, page));
  std::string body = R"({"operations":[)";
  for (const auto& each : found.operations) {
    if (!body.ends_with('[')) body += ',';
    body += listed_operation_json(each);
  }
  auto response = json_response(200, kStreamingJson, body + "]}");
  if (found.next) {
    net::Query next;
    if (!page.filter.repository.empty()) next.add("repository", page.filter.repository);
    if (page.filter.status) next.add("status", std::string(status_name(*page.filter.status)));
    next.add("n", std::to_string(page.limit));
    next.add("before", std::to_string(*found.next));
    response.headers.add("Link",
                         fmt::format("<{}?{}>; rel=\"next\"", kOperationsPath, next.text()));
  }
  return response;
}

}  // namespace runnel::registry
