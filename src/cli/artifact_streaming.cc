// The algorithm of create and the texts are those of ACR's client, which people and scripts know;
// what it leaves out is added: a failed conversion is a failed command, and says why.
#include "cli/artifact_streaming.h"

#include <boost/json.hpp>
#include <thread>

#include "cli/answer.h"
#include "cli/operation_wait.h"
#include "cli/report.h"
#include "cli/streaming_calls.h"
#include "net/url.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr size_t kMaxListed = 1'000'000;
constexpr const char* kEitherOr =
    "You need to provide either --repository MyRepo --id MyId | --image MyImage";

struct Opened {
  Session session;
  ImageName image;
};

Outcome<Opened> open_image(const StreamingOptions& options) {
  RUNNEL_TRY(auto image, ImageName::parse(options.image));
  RUNNEL_TRY(auto session, Session::open(options.api, image.host));
  return Opened{std::move(session), std::move(image)};
}

// Watches an operation to its end and says on standard error what happens.
class Follower {
 public:
  Follower(const Session& session, const StreamingOptions& options)
      : session_(session),
        first_pause_(std::chrono::duration_cast<Duration>(
            std::chrono::duration<double>(options.poll_seconds))) {}

  Result<OperationState> follow(const OperationName& name) {
    const StreamingCalls calls(session_, name.repository);
    const auto look = [&]() -> Result<OperationState> {
      RUNNEL_TRY(const auto document, calls.operation(name.id));
      return parse_operation(json::serialize(document));
    };
    const auto changed = [&](const OperationState& state) {
      if (state.status == "Running" && !std::exchange(said_running_, true)) warn("Running...");
      line_.show(fmt::format("{}: {}", state.status, state.progress));
    };
    const auto pause = [](Duration how_long) { std::this_thread::sleep_for(how_long); };
    return wait_for_end({.look = look, .changed = changed, .pause = pause}, first_pause_);
  }

 private:
  const Session& session_;
  const Duration first_pause_;
  ProgressLine line_;
  bool said_running_ = false;
};

// A conversion that did not succeed is an error, whatever the registry's answer was.
Result<void> check_end(const OperationState& end, const std::string& what) {
  if (end.status == "Succeeded") return {};
  if (end.status == "Canceled")
    return fail(Code::kCancelled, "the conversion of {} was canceled", what);
  return fail(Code::kInvalid, "the conversion of {} ended {}: {}", what, end.status,
              end.details.empty() ? "the registry does not say why" : end.details);
}

struct Started {
  OperationName name;
  json::object body;  // what is printed; its status is the one of the end
};

// Joins the operation that is going on, or begins one. Empty when the registry answered something
// else than that it began, which `answer` then is.
Result<std::optional<Started>> start(const Session& session, const std::string& repository,
                                     const oci::Digest& digest, json::value& answer) {
  const StreamingCalls calls(session, repository);
  RUNNEL_TRY(const auto last, calls.last_operation(digest));
  if (last && is_ongoing(last->status))
    return Started{{repository, last->id}, {{"id", last->id}, {"status", last->status}}};
  RUNNEL_TRY(const auto begun, calls.start(digest));
  if (!begun.ok()) return calls.start_refused(begun);
  RUNNEL_TRY(answer, parse_answer(begun));
  const auto* object = answer.if_object();
  if (begun.status != 202) return std::nullopt;
  if (object == nullptr || text_of(*object, "id").empty())
    return fail(Code::kInvalid, "{}: the registry has begun a conversion and says no id",
                session.host());
  return Started{{repository, text_of(*object, "id")}, *object};
}

void say_in_progress(const Session& session, const OperationName& name) {
  warn(
      fmt::format("The operation is in progress. Use 'runnel artifact-streaming operation show -n "
                  "{} --repository {} --id {}' to check the status.",
                  session.host(), name.repository, name.id));
}

Outcome<void> create_one(const StreamingOptions& options) {
  RUNNEL_TRY(const auto opened, open_image(options));
  const auto& repository = opened.image.repository;
  const StreamingCalls calls(opened.session, repository);
  const auto digest = calls.digest_of(opened.image);
  if (!digest)
    return fail(digest.error().code, "Could not find image '{}'. {}", options.image,
                digest.error().message);
  RUNNEL_TRY(const bool exists, calls.has_artifact(*digest));
  if (exists) {
    warn(fmt::format("The streaming artifact for image '{}' already exists. Skipping request.",
                     options.image));
    return {};
  }
  json::value answer;
  RUNNEL_TRY(auto started, start(opened.session, repository, *digest, answer));
  if (!started) return show(options.api.output, answer);
  say_in_progress(opened.session, started->name);
  if (options.no_wait) return show(options.api.output, started->body);
  RUNNEL_TRY(const auto end, Follower(opened.session, options).follow(started->name));
  started->body["status"] = end.status;
  RUNNEL_DO(show(options.api.output, started->body));
  return check_end(end, "'" + options.image + "'");
}

// Waits for each of the operations in turn, and writes how it ended into it.
Result<void> follow_all(const Session& session, const StreamingOptions& options,
                        json::array& operations) {
  Result<void> outcome;
  Follower follower(session, options);
  for (auto& each : operations) {
    auto* operation = each.if_object();
    if (operation == nullptr) continue;
    const auto what = options.repository + "@" + text_of(*operation, "digest");
    RUNNEL_TRY(const auto end, follower.follow({options.repository, text_of(*operation, "id")}));
    (*operation)["status"] = end.status;
    if (end.status == "Failed") (*operation)["details"] = end.details;
    const auto good = check_end(end, what);
    if (!good && outcome) outcome = good;
    if (!good) warn(good.error().message);
  }
  return outcome;
}

Outcome<void> create_all(const StreamingOptions& options) {
  if (options.repository.empty() || !options.image.empty())
    return usage_error("--all --repository MyRepo | --image MyImage");
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(auto answer, StreamingCalls(session, options.repository).start_all());
  auto* object = answer.if_object();
  auto* operations = object != nullptr ? object->if_contains("operations") : nullptr;
  Result<void> outcome;
  if (!options.no_wait && operations != nullptr && operations->is_array())
    outcome = follow_all(session, options, operations->get_array());
  RUNNEL_DO(show(options.api.output, answer));
  return outcome;
}

Outcome<void> show_switch(const StreamingOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto answer, StreamingCalls(session, options.repository).read_switch());
  return show(options.api.output, answer);
}

Outcome<void> update(const StreamingOptions& options) {
  if (!options.enable && !options.hold_tag_seconds)
    return usage_error("nothing to change: say --enable-streaming or --hold-tag");
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto answer, StreamingCalls(session, options.repository)
                                    .set_switch(options.enable, options.hold_tag_seconds));
  return show(options.api.output, answer);
}

Outcome<void> remove(const StreamingOptions& options) {
  RUNNEL_TRY(const auto opened, open_image(options));
  const StreamingCalls calls(opened.session, opened.image.repository);
  RUNNEL_TRY(const auto digest, calls.digest_of(opened.image));
  RUNNEL_DO(confirm(options.api.yes,
                    fmt::format("Are you sure you want to delete the streaming artifacts of '{}'?",
                                options.image)));
  RUNNEL_TRY(const auto answer, calls.delete_artifacts(digest));
  return answer.is_null() ? Outcome<void>() : show(options.api.output, answer);
}

Outcome<void> profile_show(const StreamingOptions& options) {
  RUNNEL_TRY(const auto opened, open_image(options));
  const StreamingCalls calls(opened.session, opened.image.repository);
  RUNNEL_TRY(const auto digest, calls.digest_of(opened.image));
  RUNNEL_TRY(const auto answer, calls.profile(digest));
  return show(options.api.output, answer);
}

// One operation: by its id, or the last one of an image.
struct Operation {
  Session session;
  OperationName name;
  std::string status;  // "" when it was named by its id
};

Outcome<Operation> find_operation(const StreamingOptions& options) {
  const bool by_id = !options.repository.empty() && !options.id.empty();
  if (by_id != options.image.empty() || (!by_id && !options.id.empty()))
    return usage_error("{}", kEitherOr);
  if (by_id) {
    RUNNEL_TRY(auto session, Session::open(options.api));
    return Operation{std::move(session), {options.repository, options.id}, {}};
  }
  RUNNEL_TRY(auto opened, open_image(options));
  const StreamingCalls calls(opened.session, opened.image.repository);
  const auto digest = calls.digest_of(opened.image);
  if (!digest)
    return fail(digest.error().code, "Could not find image '{}'. {}", options.image,
                digest.error().message);
  RUNNEL_TRY(auto last, calls.last_operation(*digest));
  if (!last) return fail(Code::kNotFound, "No operation found for image '{}'", options.image);
  return Operation{std::move(opened.session),
                   {opened.image.repository, std::move(last->id)},
                   std::move(last->status)};
}

Outcome<void> operation_show(const StreamingOptions& options) {
  RUNNEL_TRY(const auto found, find_operation(options));
  RUNNEL_TRY(const auto answer,
             StreamingCalls(found.session, found.name.repository).operation(found.name.id));
  return show(options.api.output, answer);
}

Outcome<void> operation_cancel(const StreamingOptions& options) {
  RUNNEL_TRY(const auto found, find_operation(options));
  if (!found.status.empty() && !is_ongoing(found.status))
    return fail(Code::kConflict,
                "The image '{}' does not have any ongoing operation. Operation ID: {}",
                options.image, found.name.id);
  RUNNEL_TRY(const auto answer,
             StreamingCalls(found.session, found.name.repository).cancel(found.name.id));
  return show(options.api.output, answer);
}

Outcome<void> operation_list(const StreamingOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  const size_t limit = options.top.value_or(kMaxListed);
  net::Query query;
  if (!options.repository.empty()) query.add("repository", options.repository);
  if (!options.status.empty()) query.add("status", options.status);
  query.add("n", std::to_string(std::min<size_t>(limit, 1000)));
  remote::ApiCall call;
  call.path = "/runnel/v1/_operations?" + query.text();
  call.repository = options.repository;
  call.what = "operations";
  call.in_person = true;
  RUNNEL_TRY(const auto found, session.list(std::move(call), "operations", limit));
  return show(options.api.output, found);
}

}  // namespace

int streaming_create(const StreamingOptions& options) {
  if (options.all) return exit_code(create_all(options));
  if (options.image.empty())
    return exit_code(usage_error("--image MyImage | --all --repository MyRepo"));
  return exit_code(create_one(options));
}

int streaming_show(const StreamingOptions& options) {
  return exit_code(show_switch(options));
}

int streaming_update(const StreamingOptions& options) {
  return exit_code(update(options));
}

int streaming_delete(const StreamingOptions& options) {
  return exit_code(remove(options));
}

int streaming_profile_show(const StreamingOptions& options) {
  return exit_code(profile_show(options));
}

int streaming_operation_show(const StreamingOptions& options) {
  return exit_code(operation_show(options));
}

int streaming_operation_cancel(const StreamingOptions& options) {
  return exit_code(operation_cancel(options));
}

int streaming_operation_list(const StreamingOptions& options) {
  return exit_code(operation_list(options));
}

}  // namespace runnel::cli
