#include "cli/deletions.h"

#include <boost/json.hpp>

#include "net/url.h"

namespace runnel::cli {

namespace {

constexpr size_t kMaxDeletions = 100'000;

}  // namespace

Result<boost::json::array> list_deletions(const Session& session, std::string_view repository) {
  net::Query query;
  if (!repository.empty()) query.add("repository", std::string(repository));
  query.add("n", "1000");
  remote::ApiCall call;
  call.path = "/runnel/v1/_soft-delete?" + query.text();
  call.repository = repository;
  call.what = "deletions";
  call.in_person = true;
  RUNNEL_TRY(auto all, session.list(std::move(call), "deletions", kMaxDeletions));
  for (const auto& each : all) {
    const auto* deletion = each.if_object();
    const auto* id = deletion != nullptr ? deletion->if_contains("id") : nullptr;
    if (id == nullptr || !id->is_int64())
      return fail(Code::kInvalid, "{}: a deletion in the registry's list has no id",
                  session.host());
  }
  return all;
}

}  // namespace runnel::cli
