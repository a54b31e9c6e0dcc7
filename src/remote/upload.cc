// Repository's pushes of blobs: HEAD, POST for an upload session, one PUT with all the bytes.
//
// No chunks: what is uploaded here is local and can be sent again, and chunked uploads are where
// registries differ most. An attempt that failed starts over with HEAD, because the registry may
// have got everything and only its answer was lost.

#include "net/url.h"
#include "remote/repository.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr size_t kNothing = 64 << 10;

}  // namespace

Result<bool> Repository::push_blob(const oci::Digest& digest, const BlobSource& source) const {
  const Scope scope = Scope::push(name_);
  const std::string what = fmt::format("upload of blob {}", digest);
  for (int done = 1;; ++done) {
    RUNNEL_TRY(const bool there, has_blob(digest, scope));
    // After a failed attempt it may be ours.
    if (there) return done > 1;
    const Call start = call("POST", url("blobs/uploads/"), scope, what);
    RUNNEL_TRY(const Answer started, exchange_.send(start, kNothing));
    if (started.status != 202) return exchange_.refused(start, started);

    std::optional<Answer> refusal;
    auto put = put_upload(started, digest, source, refusal);
    if (put) return true;
    // 404: the session is gone, with the server that kept it in memory, say.
    const bool may_pass =
        put.error().code == Code::kUnavailable || (refusal && refusal->status == 404);
    // How long the last one went well is not known, so only attempts are counted.
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!may_pass || !exchange_.pause(done, refusal ? &*refusal : nullptr, now))
      return std::unexpected(put.error());
  }
}

Result<void> Repository::check_push() const {
  const Call start = call("POST", url("blobs/uploads/"), Scope::push(name_), "upload of a blob");
  RUNNEL_TRY(const Answer started, exchange_.send(start, kNothing));
  if (started.status != 202) return exchange_.refused(start, started);
  cancel_upload(started);
  return {};
}

Result<std::string> Repository::upload_location(const Answer& started,
                                                const std::string& what) const {
  if (started.header("Location").empty())
    return fail(Code::kInvalid, "{}: the registry's answer has no Location", where(what));
  auto location = resolve_url(started.url, started.header("Location"));
  if (!location) return std::unexpected(location.error().in(where(what) + ": Location"));
  const auto allowed = check_leads_on(exchange_.endpoint(), *location);
  if (!allowed) return std::unexpected(allowed.error().in(where(what)));
  return location;
}

Result<void> Repository::put_upload(const Answer& started, const oci::Digest& digest,
                                    const BlobSource& source,
                                    std::optional<Answer>& refusal) const {
  const std::string what = fmt::format("upload of blob {}", digest);
  RUNNEL_TRY(std::string location, upload_location(started, what));
  Call put = call("PUT", with_query(std::move(location), "digest", digest.to_string()),
                  Scope::push(name_), what);
  put.total_timeout = Duration::zero();  // as long as bytes go
  put.headers.set("Content-Type", "application/octet-stream");
  if (const Bytes* bytes = std::get_if<Bytes>(&source)) {
    put.body = std::string(as_text(*bytes));
  } else {
    put.body = std::get<net::FileRange>(source);
  }
  RUNNEL_TRY(Answer answer, exchange_.once(put, kNothing));
  if (answer.ok()) return {};
  refusal = std::move(answer);
  return exchange_.refused(put, *refusal);
}

Result<bool> Repository::mount_blob(const oci::Digest& digest, const std::string& from) const {
  std::string target = with_query(url("blobs/uploads/"), "mount", digest.to_string());
  const Call mount =
      call("POST", with_query(std::move(target), "from", from), Scope::push(name_).and_pull(from),
           fmt::format("mount of blob {} from {}", digest, from));
  RUNNEL_TRY(const Answer answer, exchange_.send(mount, kNothing));
  if (answer.status == 201) return true;
  if (answer.status != 202) return exchange_.refused(mount, answer);
  cancel_upload(answer);
  return false;
}

// Politeness: a session that is left open would lie there until it expires.
void Repository::cancel_upload(const Answer& started) const {
  const std::string what = "cancel of an upload";
  const auto location = upload_location(started, what);
  if (!location) return;
  (void)exchange_.once(call("DELETE", *location, Scope::push(name_), what), kNothing);
}

}  // namespace runnel::remote
