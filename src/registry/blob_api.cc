#include "registry/blob_api.h"

#include "base/log.h"
#include "registry/attributes.h"
#include "registry/byte_range.h"

namespace runnel::registry {

namespace {

// A blob of a store that has no file for it.
class StreamedBlob final : public net::BodyStream {
 public:
  StreamedBlob(WorkerPool& pool, std::unique_ptr<blob::BlobReader> reader, uint64_t offset,
               uint64_t size)
      : pool_(pool), reader_(std::move(reader)), at_(offset), end_(offset + size) {}

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    const auto piece = into.first(std::min<uint64_t>(into.size(), end_ - at_));
    if (piece.empty()) co_return 0;
    auto work = [this, piece] { return reader_->read_at(at_, piece); };
    auto count = co_await net::on_pool(pool_, std::move(work));
    if (count && *count == 0)
      co_return fail(Code::kUnavailable, "a blob ended before its size was read");
    if (count) at_ += *count;
    co_return count;
  }

 private:
  WorkerPool& pool_;
  const std::unique_ptr<blob::BlobReader> reader_;
  uint64_t at_;
  const uint64_t end_;
};

// A client that asks with HEAD whether it must push the blob may rely on the answer for a time.
std::expected<ReadableBlob, Refusal> find_and_lease(Services& services, const Route& route) {
  RUNNEL_DO(check_attributes(services.metadata, Attribute::kRead, route));
  RUNNEL_TRY(auto digest, digest_of(route.target));
  const auto renew_after = services.config.unreferenced_lifetime / 2;
  RUNNEL_TRY(const auto size, services.metadata.lease_blob(route.key(), digest, renew_after));
  if (!size) return std::unexpected(blob_unknown(route));
  return ReadableBlob{.digest = std::move(digest), .size = *size};
}

// The repository's link decides who may see a blob; that other repositories have it does not
// matter. A linked blob that the store has lost counts as absent, because the client then pushes it
// again, which repairs it.
std::expected<blob::Content, Refusal> open_linked(Services& services, const Route& route,
                                                  const ReadableBlob& linked) {
  const auto& [digest, size] = linked;
  RUNNEL_TRY(auto content, services.blobs.open(digest));
  if (!content) {
    log::error("blob {} is linked in {} but the store does not have it", digest, route.repository);
    return std::unexpected(blob_unknown(route));
  }
  if (blob::size_of(*content) != size) {
    log::error("blob {} has {} bytes in the store, not {}", digest, blob::size_of(*content), size);
    return std::unexpected(blob_unknown(route));
  }
  return *std::move(content);
}

RangeAnswer requested_range(const net::Request& request, uint64_t size, std::string_view etag) {
  const auto header = request.headers.first("Range");
  if (!header || request.method != "GET") return WholeBody{};
  // RFC 9110, 13.1.5: a range of something else than the client has seen is of no use to it.
  const auto condition = request.headers.first("If-Range");
  if (condition && *condition != etag) return WholeBody{};
  return range_of(*header, size);
}

void set_body(Services& services, net::Response& response, blob::Content content, uint64_t offset,
              uint64_t length) {
  if (auto* file = std::get_if<blob::FileContent>(&content)) {
    response.body = net::FileRange(std::move(file->file), offset, length);
  } else {
    auto& stream = std::get<blob::StreamContent>(content);
    response.body =
        std::make_unique<StreamedBlob>(services.readers, std::move(stream.reader), offset, length);
    response.content_length = length;
  }
}

net::Response redirect(const blob::RedirectContent& content) {
  net::Response response(307);
  response.headers.add("Location", content.url);
  return response;
}

}  // namespace

std::expected<oci::Digest, Refusal> digest_of(std::string_view text) {
  auto digest = oci::Digest::parse(text);
  if (!digest) return refuse(400, "DIGEST_INVALID", digest.error().message);
  return *std::move(digest);
}

Answer get_blob(Services& services, const Route& route, const net::Request& request) {
  RUNNEL_TRY(const auto linked, request.method == "HEAD"
                                    ? find_and_lease(services, route)
                                    : services.readable_blobs.find(route, request.received_at));
  RUNNEL_TRY(auto content, open_linked(services, route, linked));
  const auto& [digest, size] = linked;
  const auto etag = "\"" + digest.to_string() + "\"";
  net::Response response(200);
  response.headers.add("Docker-Content-Digest", digest.to_string());
  response.headers.add("ETag", etag);
  response.headers.add("Cache-Control", "max-age=31536000");
  if (matches_etag(request, etag)) {
    response.status = 304;
    return response;
  }
  const auto range = requested_range(request, size, etag);
  if (std::holds_alternative<NoSuchRange>(range)) {
    Refusal refusal(416, "RANGE_INVALID", fmt::format("the blob has {} bytes", size));
    refusal.headers.add("Content-Range", fmt::format("bytes */{}", size));
    return std::unexpected(std::move(refusal));
  }
  response.headers.add("Accept-Ranges", "bytes");
  response.headers.add("Content-Type", "application/octet-stream");
  if (auto* elsewhere = std::get_if<blob::RedirectContent>(&content)) {
    // HEAD is answered here: what signs the URL signs it for GET.
    if (request.method == "GET") return redirect(*elsewhere);
    response.content_length = size;
    return response;
  }
  if (const auto* part = std::get_if<ByteRange>(&range)) {
    response.status = 206;
    response.headers.add("Content-Range",
                         fmt::format("bytes {}-{}/{}", part->first, part->last, size));
    set_body(services, response, std::move(content), part->first, part->size());
  } else {
    set_body(services, response, std::move(content), 0, size);
  }
  return response;
}

Answer delete_blob(Services& services, const Route& route) {
  RUNNEL_TRY(const auto digest, digest_of(route.target));
  RUNNEL_TRY(const auto outcome, services.metadata.unlink_blob(route.key(), digest));
  switch (outcome) {
    case meta::UnlinkOutcome::kRemoved: return net::Response(202);
    case meta::UnlinkOutcome::kAbsent: return std::unexpected(blob_unknown(route));
    case meta::UnlinkOutcome::kReferenced: break;
  }
  return refuse(405, "UNSUPPORTED",
                fmt::format("a manifest of {} names {}: delete the manifest first",
                            route.repository, digest));
}

}  // namespace runnel::registry
