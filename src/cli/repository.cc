#include "cli/repository.h"

#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/attributes.h"
#include "cli/deletions.h"
#include "cli/report.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr size_t kMaxNames = 10'000'000;

// The session for what is named, and its name.
struct Opened {
  Session session;
  std::string repository;
  std::optional<ImageName> image;
};

Outcome<Opened> open(const RepositoryOptions& options) {
  if (options.repository.empty() == options.image.empty())
    return usage_error("--image IMAGE | --repository REPOSITORY");
  if (options.image.empty()) {
    RUNNEL_TRY(auto session, Session::open(options.api));
    return Opened{std::move(session), options.repository, std::nullopt};
  }
  RUNNEL_TRY(auto image, ImageName::parse(options.image));
  RUNNEL_TRY(auto session, Session::open(options.api, image.host));
  auto repository = image.repository;
  return Opened{std::move(session), std::move(repository), std::move(image)};
}

AttributesTarget target_of(const Opened& opened) {
  AttributesTarget target;
  target.repository = opened.repository;
  if (opened.image) {
    target.tag = opened.image->tag;
    target.digest = opened.image->digest;
  }
  return target;
}

// Whether pushed images stream is a state of its own; the guide looks for it here. A registry that
// has no such thing is no failure.
Result<void> add_streaming(const Session& session, const std::string& repository,
                           json::value& shown) {
  auto* object = shown.if_object();
  if (object == nullptr) return {};
  remote::ApiCall call;
  call.path = fmt::format("/acr/v1/{}/_streaming", repository);
  call.repository = repository;
  call.scope = repository_scope(repository, "pull");
  call.what = "streaming state";
  RUNNEL_TRY(const auto answer, session.send(call));
  if (!answer.ok()) return {};
  RUNNEL_TRY(auto state, parse_answer(answer));
  (*object)["artifactStreaming"] = std::move(state);
  return {};
}

Outcome<void> list(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  remote::ApiCall call;
  call.path = options.top ? fmt::format("/v2/_catalog?n={}", *options.top) : "/v2/_catalog";
  call.scope = remote::Scope::of({"registry:catalog:*"});
  call.what = "repositories";
  RUNNEL_TRY(const auto names,
             session.list(std::move(call), "repositories", options.top.value_or(kMaxNames)));
  return show(options.api.output, names);
}

Outcome<void> list_tags(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  remote::ApiCall call;
  call.path = fmt::format("/v2/{}/tags/list", options.repository);
  call.repository = options.repository;
  call.scope = repository_scope(options.repository, "metadata_read");
  call.what = "tags";
  RUNNEL_TRY(const auto names,
             session.list(std::move(call), "tags", options.top.value_or(kMaxNames)));
  return show(options.api.output, names);
}

Outcome<void> show_one(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(auto shown, read_attributes(opened.session, target_of(opened)));
  if (!opened.image) RUNNEL_DO(add_streaming(opened.session, opened.repository, shown));
  return show(options.api.output, shown);
}

Outcome<void> update(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(const auto shown,
             change_attributes(opened.session, target_of(opened), options.attributes));
  return show(options.api.output, shown);
}

Outcome<void> remove(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  remote::ApiCall call;
  call.method = "DELETE";
  call.repository = opened.repository;
  call.scope = repository_scope(opened.repository, "pull,delete,metadata_read");
  std::string question;
  if (opened.image) {
    RUNNEL_TRY(const auto digest, opened.session.resolve(*opened.image));
    call.path = fmt::format("/v2/{}/manifests/{}", opened.repository, digest);
    call.what = fmt::format("manifest {}", digest);
    question = fmt::format(
        "This operation will delete the manifest '{}' of '{}', all its tags and its streaming "
        "artifact. Are you sure you want to continue?",
        digest, opened.image->text());
  } else {
    call.path = "/acr/v1/" + opened.repository;
    call.what = "the repository";
    question =
        fmt::format("Are you sure you want to delete the repository '{}' and all images under it?",
                    opened.repository);
  }
  RUNNEL_DO(confirm(options.api.yes, question));
  RUNNEL_TRY(const auto answer, opened.session.call(call));
  return answer.is_null() ? Outcome<void>() : show(options.api.output, answer);
}

Outcome<void> untag(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  if (!opened.image || opened.image->digest) return usage_error("--image REPOSITORY:TAG");
  remote::ApiCall call;
  call.method = "DELETE";
  call.repository = opened.repository;
  call.path = fmt::format("/v2/{}/manifests/{}", opened.repository, opened.image->tag);
  call.scope = repository_scope(opened.repository, "pull,delete,metadata_read");
  call.what = "tag " + opened.image->tag;
  RUNNEL_TRY([[maybe_unused]] const auto gone, opened.session.call(call));
  return {};
}

Outcome<void> list_deleted(const RepositoryOptions& options) {
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto deletions, list_deletions(session, ""));
  json::array names;
  for (const auto& each : deletions) {
    const json::value name(text_of(each.as_object(), "repository"));
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return show(options.api.output, names);
}

}  // namespace

int repository_list(const RepositoryOptions& options) {
  return exit_code(list(options));
}

int repository_tags(const RepositoryOptions& options) {
  return exit_code(list_tags(options));
}

int repository_show(const RepositoryOptions& options) {
  return exit_code(show_one(options));
}

int repository_update(const RepositoryOptions& options) {
  return exit_code(update(options));
}

int repository_delete(const RepositoryOptions& options) {
  return exit_code(remove(options));
}

int repository_untag(const RepositoryOptions& options) {
  return exit_code(untag(options));
}

int repository_list_deleted(const RepositoryOptions& options) {
  return exit_code(list_deleted(options));
}

}  // namespace runnel::cli
