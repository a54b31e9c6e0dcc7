#include "remote/repository.h"

#include <algorithm>

#include "oci/media_types.h"
#include "remote/blob_reader.h"
#include "remote/header_values.h"

namespace runnel::remote {

namespace {

constexpr size_t kNothing = 64 << 10;  // for answers whose body says nothing we need
// A registry that ignores ranges: so much may be read and dropped.
constexpr uint64_t kCheapToSkip = 1 << 20;

std::optional<oci::Digest> digest_header(const Answer& answer) {
  auto digest = oci::Digest::parse(answer.header("Docker-Content-Digest"));
  return digest ? std::optional(*digest) : std::nullopt;
}

// A registry that knows only "application/json" leaves it to the document.
Result<std::string> media_type_of(const Answer& answer) {
  std::string type = bare_media_type(answer.header("Content-Type"));
  if (oci::is_manifest_type(type) || oci::is_index_type(type)) return type;
  RUNNEL_TRY(const oci::Document document, oci::parse_document(answer.body, type));
  return oci::media_type(document);
}

}  // namespace

oci::Descriptor RemoteManifest::descriptor() const {
  oci::Descriptor out;
  out.media_type = media_type;
  out.digest = digest;
  out.size = bytes.size();
  return out;
}

Repository::Repository(std::shared_ptr<Gateway> gateway, std::string host, std::string name)
    : name_(std::move(name)), exchange_(std::move(gateway), std::move(host), name_) {}

std::string Repository::url(std::string_view rest) const {
  return fmt::format("{}/v2/{}/{}", exchange_.endpoint().url, name_, rest);
}

Call Repository::call(std::string method, std::string url, Scope scope, std::string what) const {
  Call out;
  out.method = std::move(method);
  out.url = std::move(url);
  out.scope = std::move(scope);
  out.what = std::move(what);
  out.total_timeout = exchange_.gateway().options.small_timeout;
  return out;
}

Result<oci::Descriptor> Repository::resolve(std::string_view reference) const {
  Call head = call("HEAD", url(fmt::format("manifests/{}", reference)), Scope::pull(name_),
                   fmt::format("manifest {}", reference));
  head.headers.set("Accept", std::string(oci::kAcceptManifests));
  RUNNEL_TRY(const Answer answer, exchange_.send(head, kNothing));

  const auto digest = digest_header(answer);
  const auto size = parse_decimal(answer.header("Content-Length"));
  const std::string type = bare_media_type(answer.header("Content-Type"));
  const bool complete = answer.status == 200 && digest && size && *size > 0 &&
                        (oci::is_manifest_type(type) || oci::is_index_type(type));
  const auto asked = oci::Digest::parse(reference);
  if (complete && (!asked || *asked == *digest)) {
    oci::Descriptor out;
    out.media_type = type;
    out.digest = *digest;
    out.size = *size;
    return out;
  }
  // A refusal of HEAD has no body that says why, and some registries leave headers out.
  RUNNEL_TRY(const RemoteManifest whole, manifest(reference));
  return whole.descriptor();
}

Result<RemoteManifest> Repository::manifest(std::string_view reference, size_t limit) const {
  Call get = call("GET", url(fmt::format("manifests/{}", reference)), Scope::pull(name_),
                  fmt::format("manifest {}", reference));
  get.headers.set("Accept", std::string(oci::kAcceptManifests));
  RUNNEL_TRY(Answer answer, exchange_.send(get, limit));
  if (answer.status != 200) return exchange_.refused(get, answer);

  RemoteManifest out;
  const auto asked = oci::Digest::parse(reference);
  const auto named = digest_header(answer);
  for (const auto& expected : {asked ? std::optional(*asked) : std::nullopt, named}) {
    if (!expected) continue;
    const oci::Digest actual = oci::Digest::of(answer.body, expected->algorithm());
    if (actual != *expected)
      return fail(Code::kInvalid, "{}: the registry sent {} bytes whose digest is {}, not {}",
                  where(get.what), answer.body.size(), actual, *expected);
    if (out.digest.empty()) out.digest = actual;
  }
  if (out.digest.empty()) out.digest = oci::Digest::of(answer.body);
  auto type = media_type_of(answer);
  if (!type) return std::unexpected(type.error().in(where(get.what)));
  out.media_type = *std::move(type);
  out.bytes = std::move(answer.body);
  return out;
}

Result<PushedManifest> Repository::push_manifest(std::string_view reference,
                                                 std::string_view media_type, Bytes bytes) const {
  Call put = call("PUT", url(fmt::format("manifests/{}", reference)), Scope::push(name_),
                  fmt::format("manifest {}", reference));
  put.headers.set("Content-Type", std::string(media_type));
  put.body = std::string(as_text(bytes));
  RUNNEL_TRY(const Answer answer, exchange_.send(put, kNothing));
  if (!answer.ok()) return exchange_.refused(put, answer);

  PushedManifest out;
  const auto asked = oci::Digest::parse(reference);
  const auto named = digest_header(answer);
  out.digest = oci::Digest::of(bytes, asked   ? asked->algorithm()
                                      : named ? named->algorithm()
                                              : oci::Algorithm::kSha256);
  if (named && named->algorithm() == out.digest.algorithm() && *named != out.digest)
    return fail(Code::kInvalid, "{}: pushed {}, the registry says it stored {}", where(put.what),
                out.digest, *named);
  out.subject_seen = !answer.header("OCI-Subject").empty();
  return out;
}

Result<void> Repository::delete_manifest(std::string_view reference) const {
  const Call remove = call("DELETE", url(fmt::format("manifests/{}", reference)),
                           Scope::remove(name_), fmt::format("manifest {}", reference));
  RUNNEL_TRY(const Answer answer, exchange_.send(remove, kNothing));
  if (!answer.ok()) return exchange_.refused(remove, answer);
  return {};
}

Result<bool> Repository::has_blob(const oci::Digest& digest) const {
  return has_blob(digest, Scope::pull(name_));
}

Result<bool> Repository::has_blob(const oci::Digest& digest, const Scope& scope) const {
  const Call head =
      call("HEAD", url(fmt::format("blobs/{}", digest)), scope, fmt::format("blob {}", digest));
  RUNNEL_TRY(const Answer answer, exchange_.send(head, kNothing));
  if (answer.status == 404) return false;
  if (!answer.ok()) return exchange_.refused(head, answer);
  return true;
}

Call Repository::blob_call(const oci::Digest& digest) const {
  Call get = call("GET", url(fmt::format("blobs/{}", digest)), Scope::pull(name_),
                  fmt::format("blob {}", digest));
  get.total_timeout = Duration::zero();  // as long as bytes come
  return get;
}

Result<void> Repository::blob(const oci::Descriptor& blob, const Consume& consume) const {
  return BlobReader(exchange_, blob_call(blob.digest), {.digest = blob.digest, .size = blob.size})
      .run(consume);
}

Result<void> Repository::blob_in_parts(const oci::Descriptor& blob, const Consume& consume,
                                       uint64_t first_part) const {
  return BlobReader(exchange_, blob_call(blob.digest),
                    {.size = blob.size, .first_part = first_part})
      .run(consume);
}

Result<Buffer> Repository::blob_bytes(const oci::Digest& digest, size_t limit,
                                      std::optional<Duration> within) const {
  Buffer out;
  const auto append = [&](Bytes piece) -> Result<void> {
    if (piece.size() > limit - out.size())
      return fail(Code::kExhausted, "{}: it is larger than {} bytes",
                  where(fmt::format("blob {}", digest)), limit);
    out.insert(out.end(), piece.begin(), piece.end());
    return {};
  };
  BlobReader::Expected expected{.digest = digest};
  if (within) expected.deadline = std::chrono::steady_clock::now() + *within;
  RUNNEL_DO(BlobReader(exchange_, blob_call(digest), std::move(expected)).run(append));
  return out;
}

Result<Buffer> Repository::blob_range(const oci::Digest& digest, uint64_t offset,
                                      uint64_t length) const {
  if (length == 0) return Buffer();
  Call get = blob_call(digest);
  get.what += fmt::format(" bytes {} to {}", offset, offset + length - 1);
  get.headers.set("Range", fmt::format("bytes={}-{}", offset, offset + length - 1));
  const SteadyTime start = std::chrono::steady_clock::now();
  for (int done = 1;; ++done) {
    std::optional<Answer> refusal;
    auto bytes = try_blob_range(get, offset, length, refusal);
    if (bytes || bytes.error().code != Code::kUnavailable) return bytes;
    if (!exchange_.pause(done, refusal ? &*refusal : nullptr, start)) return bytes;
  }
}

Result<Buffer> Repository::try_blob_range(const Call& get, uint64_t offset, uint64_t length,
                                          std::optional<Answer>& refusal) const {
  RUNNEL_TRY(OpenAnswer open, exchange_.open(get));
  if (!open.answer.ok()) {
    refusal = std::move(open.answer);
    return exchange_.refused(get, *refusal);
  }
  uint64_t skip = 0;
  if (open.answer.status == 206) {
    auto range = parse_content_range(open.answer.header("Content-Range"));
    if (!range || range->first != offset || range->last != offset + length - 1)
      return fail(Code::kInvalid, "{}: the registry sent Content-Range \"{}\"", where(get.what),
                  open.answer.header("Content-Range"));
  } else if (offset <= kCheapToSkip) {
    skip = offset;
  } else {
    return fail(Code::kUnsupported, "{}: the registry ignores ranges", where(get.what));
  }

  Buffer out;
  out.reserve(length);
  while (out.size() < length) {
    auto piece = open.body->read();
    if (!piece) return std::unexpected(piece.error().in(where(get.what)));
    if (piece->empty()) return fail(Code::kInvalid, "{}: the blob ends before", where(get.what));
    const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip, piece->size()));
    skip -= skipped;
    const Bytes rest = piece->subspan(skipped);
    const Bytes wanted = rest.first(std::min<size_t>(rest.size(), length - out.size()));
    out.insert(out.end(), wanted.begin(), wanted.end());
  }
  return out;
}

}  // namespace runnel::remote
