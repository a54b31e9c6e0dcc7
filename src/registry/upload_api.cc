#include "registry/upload_api.h"

#include "base/log.h"
#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/blob_api.h"
#include "registry/byte_range.h"

namespace runnel::registry {

namespace {

// How much of a body is handed to the pool at once, and so the memory of an upload.
constexpr size_t kPiece = 512 * 1024;
// How many repositories a mount without a source tries.
constexpr size_t kMaxMountSources = 16;
// How long a request waits at least for another one that writes to its upload: the client whose
// connection broke may be back before the request that was cut off has let go. It looks after so
// long, and each time after twice as long as before.
constexpr Duration kWaitForWriter = std::chrono::seconds(1);
constexpr Duration kFirstLook = std::chrono::milliseconds(5);

using ReceivingPtr = std::unique_ptr<Receiving>;

std::string upload_path(std::string_view repository, std::string_view id) {
  return fmt::format("/v2/{}/blobs/uploads/{}", repository, id);
}

// "0-0" also when nothing is there: the specification has no way to say that.
void add_upload_headers(net::Headers& headers, std::string_view repository, std::string_view id,
                        uint64_t received) {
  headers.add("Location", upload_path(repository, id));
  headers.add("Range", fmt::format("0-{}", received == 0 ? 0 : received - 1));
  headers.add("Docker-Upload-UUID", std::string(id));
}

net::Response upload_response(int status, const Route& route, std::string_view id,
                              uint64_t received) {
  net::Response response(status);
  add_upload_headers(response.headers, route.repository, id, received);
  return response;
}

net::Response blob_created(std::string_view repository, const oci::Digest& digest) {
  net::Response response(201);
  response.headers.add("Location", fmt::format("/v2/{}/blobs/{}", repository, digest));
  response.headers.add("Docker-Content-Digest", digest.to_string());
  return response;
}

Refusal upload_refusal(const Error& error) {
  if (error.code == Code::kNotFound) return {404, "BLOB_UPLOAD_UNKNOWN", error.message};
  if (error.code == Code::kConflict) return {409, "BLOB_UPLOAD_INVALID", error.message};
  if (error.code == Code::kInvalid) return {400, "DIGEST_INVALID", error.message};
  return error;
}

// How a request's body broke off.
Refusal body_refusal(const Error& error) {
  return {400, "BLOB_UPLOAD_INVALID", "the body is not complete: " + error.message};
}

// How the bytes of a request came in.
struct Reception {
  Reception() = default;
  explicit Reception(Refusal r, bool broke = false) : refusal(std::move(r)), broke_off(broke) {}

  std::optional<Refusal> refusal;  // none: all of them came and were written
  bool broke_off = false;          // the connection did; what came before is good
};

struct Filled {
  Filled() = default;

  size_t count = 0;
  bool at_end = false;
  std::optional<Error> error;
};

net::awaitable<Filled> fill(net::RequestBody& body, MutableBytes into) {
  Filled filled;
  while (filled.count < into.size() && !filled.at_end && !filled.error) {
    auto count = co_await body.read(into.subspan(filled.count));
    if (!count)
      filled.error = std::move(count).error();
    else if (*count == 0)
      filled.at_end = true;
    else
      filled.count += *count;
  }
  co_return filled;
}

// Takes a body to its end, piece by piece, each written on the pool.
net::awaitable<Reception> receive_body(WorkerPool& pool, net::RequestBody& body,
                                       Receiving& receiving) {
  const auto expected = body.content_length().value_or(kPiece);
  Buffer piece(std::clamp<uint64_t>(expected, 1, kPiece));
  while (true) {
    const auto filled = co_await fill(body, piece);
    if (filled.count > 0) {
      auto work = [&] { return receiving.append(Bytes(piece).first(filled.count)); };
      const auto written = co_await net::on_pool(pool, std::move(work));
      if (!written) co_return Reception(upload_refusal(written.error()));
    }
    if (filled.error) co_return Reception(body_refusal(*filled.error), true);
    if (filled.at_end) co_return Reception();
  }
}

// Checks the Content-Range of a request, if it has one, against what is here and what comes.
std::expected<std::optional<ByteRange>, Refusal> announced_range(const Receiving& receiving,
                                                                 const net::Request& request,
                                                                 const net::RequestBody& body) {
  const auto header = request.headers.first("Content-Range");
  if (!header) return std::nullopt;
  const auto range = parse_content_range(*header);
  if (!range) return refuse(400, "BLOB_UPLOAD_INVALID", range.error().message);
  if (range->first != receiving.size()) {
    Refusal refusal(
        416, "BLOB_UPLOAD_INVALID",
        fmt::format("the upload goes on at byte {}, not {}", receiving.size(), range->first));
    add_upload_headers(refusal.headers, receiving.upload().repository, receiving.upload().id,
                       receiving.size());
    return std::unexpected(std::move(refusal));
  }
  if (body.content_length().value_or(range->size()) != range->size())
    return refuse(400, "SIZE_INVALID",
                  fmt::format("Content-Range announces {} bytes, Content-Length {}", range->size(),
                              *body.content_length()));
  return *range;
}

net::awaitable<std::expected<ReceivingPtr, Refusal>> open_upload(Services& services,
                                                                 const Caller& caller,
                                                                 const Route& route,
                                                                 oci::Algorithm algorithm) {
  auto work = [&] {
    return services.uploads.receive(route.repository, caller.id(), route.target, algorithm);
  };
  Duration waited{};
  for (Duration pause = kFirstLook;; pause *= 2) {
    auto receiving = co_await net::on_pool(services.writers, work);
    if (receiving) co_return *std::move(receiving);
    if (receiving.error().code != Code::kConflict || waited >= kWaitForWriter)
      co_return std::unexpected(upload_refusal(receiving.error()));
    co_await net::sleep_for(pause);
    waited += pause;
  }
}

// Receives a request's bytes, all that its Content-Range announces if it has one.
net::awaitable<Reception> receive_range(Services& services, Receiving& receiving,
                                        const net::Request& request, net::RequestBody& body) {
  const auto range = announced_range(receiving, request, body);
  if (!range) co_return Reception(range.error());
  const auto before = receiving.size();
  auto reception = co_await receive_body(services.writers, body, receiving);
  const auto came = receiving.size() - before;
  if (!reception.refusal && *range && came != (*range)->size())
    co_return Reception(
        Refusal(400, "SIZE_INVALID",
                fmt::format("Content-Range announces {} bytes, {} came", (*range)->size(), came)));
  co_return reception;
}

// The upload is as it was before this request, and the disk has its space back.
net::awaitable<void> drop(Services& services, Receiving& receiving) {
  auto work = [&] { return receiving.drop(); };
  auto dropped = co_await net::on_pool(services.writers, std::move(work));
  if (!dropped) log::warning("upload {}: {}", receiving.upload().id, dropped.error().message);
}

// The rest of a push: bytes, digest, blob, link.
net::awaitable<Answer> receive_and_finish(Services& services, const Caller& caller,
                                          const Route& route, const oci::Digest& digest,
                                          const net::Request& request, net::RequestBody& body) {
  auto receiving = co_await open_upload(services, caller, route, digest.algorithm());
  if (!receiving) co_return std::unexpected(std::move(receiving).error());
  auto reception = co_await receive_range(services, **receiving, request, body);
  if (reception.refusal) {
    co_await drop(services, **receiving);
    co_return std::unexpected(*std::move(reception.refusal));
  }
  auto work = [&] { return (*receiving)->finish(digest); };
  auto finished = co_await net::on_pool(services.writers, std::move(work));
  if (!finished) co_return std::unexpected(upload_refusal(finished.error()));
  co_return blob_created(route.repository, digest);
}

// Links a blob that another repository has, if the caller may read it there. A source need not be
// named.
Result<bool> mount(Services& services, const Caller& caller, const std::string& repository,
                   const oci::Digest& digest, std::optional<std::string_view> from) {
  const auto may_read = [&](std::string_view source) {
    return caller.may(access::Action::kContentRead, source);
  };
  if (from && !may_read(*from)) return false;
  RUNNEL_TRY(const auto stored, services.blobs.size(digest));
  if (!stored) return false;
  // A blob that was cut short on the disk is not mounted: the client pushes it, which repairs it.
  const auto gives = [&](std::string_view source) -> Result<bool> {
    RUNNEL_TRY(const auto attributes, attributes_of(services.metadata, source, "*"));
    RUNNEL_TRY(const auto linked, services.metadata.blob_size(source, digest));
    return attributes.has(Attribute::kRead) && linked == stored;
  };
  if (from) {
    RUNNEL_TRY(const bool given, gives(*from));
    return given ? services.metadata.mount_blob(*from, repository, digest) : false;
  }
  RUNNEL_TRY(const auto sources,
             services.metadata.repositories_with_blob(digest, kMaxMountSources));
  for (const auto& source : sources) {
    if (!may_read(source)) continue;
    RUNNEL_TRY(const bool given, gives(source));
    if (!given) continue;
    RUNNEL_TRY(const bool mounted, services.metadata.mount_blob(source, repository, digest));
    if (mounted) return true;
  }
  return false;
}

// The digest to mount, when that is asked for and can be.
std::optional<oci::Digest> mount_request(const net::Request& request) {
  const auto text = request.query.first("mount");
  if (!text) return std::nullopt;
  auto digest = oci::Digest::parse(*text);
  if (!digest) return std::nullopt;
  return *std::move(digest);
}

// Mounts if that is asked for and possible, otherwise begins an upload: never "not found", because
// the client goes on with whatever it gets.
Result<net::Response> mount_or_begin(Services& services, const Caller& caller, const Route& route,
                                     const net::Request& request) {
  if (const auto digest = mount_request(request)) {
    RUNNEL_TRY(const bool mounted,
               mount(services, caller, route.repository, *digest, request.query.first("from")));
    if (mounted) return blob_created(route.repository, *digest);
  }
  RUNNEL_TRY(const auto upload, services.uploads.start(route.repository, caller.id()));
  return upload_response(202, route, upload.id, 0);
}

// A blob in one request. It takes the way of every upload, so that a crash leaves nothing unknown.
net::awaitable<Answer> push_whole(Services& services, const Caller& caller, const Route& route,
                                  std::string_view digest, const net::Request& request,
                                  net::RequestBody& body) {
  const auto parsed = digest_of(digest);
  if (!parsed) co_return std::unexpected(parsed.error());
  auto work = [&] { return services.uploads.start(route.repository, caller.id()); };
  auto upload = co_await net::on_pool(services.writers, std::move(work));
  if (!upload) co_return std::unexpected(Refusal(upload.error()));
  Route to_upload = route;
  to_upload.target = upload->id;
  auto answer = co_await receive_and_finish(services, caller, to_upload, *parsed, request, body);
  if (!answer) {
    // Nobody knows its name.
    auto cancel = [&] {
      return services.uploads.cancel(route.repository, caller.id(), upload->id);
    };
    auto gone = co_await net::on_pool(services.writers, std::move(cancel));
    if (!gone) log::warning("upload {}: {}", upload->id, gone.error().message);
  }
  co_return answer;
}

}  // namespace

net::awaitable<Answer> start_upload(Services& services, const Caller& caller, const Route& route,
                                    const net::Request& request, net::RequestBody& body) {
  const auto digest = request.query.first("digest");
  if (digest && !request.query.has("mount"))
    co_return co_await push_whole(services, caller, route, *digest, request, body);
  auto work = [&] { return mount_or_begin(services, caller, route, request); };
  auto begun = co_await net::on_pool(services.writers, std::move(work));
  if (!begun) co_return std::unexpected(Refusal(begun.error()));
  co_return *std::move(begun);
}

net::awaitable<Answer> append_upload(Services& services, const Caller& caller, const Route& route,
                                     const net::Request& request, net::RequestBody& body) {
  auto receiving = co_await open_upload(services, caller, route, oci::Algorithm::kSha256);
  if (!receiving) co_return std::unexpected(std::move(receiving).error());
  auto reception = co_await receive_range(services, **receiving, request, body);
  // What came before the connection broke is kept: the client asks how much, and goes on there.
  // What is refused is not: on a full disk it would be in the way of everybody's pushes.
  if (!reception.refusal || reception.broke_off) {
    auto work = [&] { return (*receiving)->keep(); };
    auto kept = co_await net::on_pool(services.writers, std::move(work));
    if (!kept) reception = Reception(upload_refusal(kept.error()));
  }
  if (reception.refusal && !reception.broke_off) co_await drop(services, **receiving);
  if (reception.refusal) co_return std::unexpected(*std::move(reception.refusal));
  co_return upload_response(202, route, route.target, (*receiving)->size());
}

net::awaitable<Answer> finish_upload(Services& services, const Caller& caller, const Route& route,
                                     const net::Request& request, net::RequestBody& body) {
  const auto text = request.query.first("digest");
  if (!text) co_return refuse(400, "DIGEST_INVALID", "the parameter \"digest\" is missing");
  const auto digest = digest_of(*text);
  if (!digest) co_return std::unexpected(digest.error());
  co_return co_await receive_and_finish(services, caller, route, *digest, request, body);
}

Answer upload_status(Services& services, const Caller& caller, const Route& route) {
  RUNNEL_TRY(const auto upload, services.uploads.find(route.repository, caller.id(), route.target));
  if (!upload)
    return refuse(
        404, "BLOB_UPLOAD_UNKNOWN",
        fmt::format("there is no upload {} in {}", quote(route.target), route.repository));
  return upload_response(204, route, upload->id, upload->received);
}

Answer cancel_upload(Services& services, const Caller& caller, const Route& route) {
  RUNNEL_TRY(const bool existed,
             services.uploads.cancel(route.repository, caller.id(), route.target));
  if (!existed)
    return refuse(
        404, "BLOB_UPLOAD_UNKNOWN",
        fmt::format("there is no upload {} in {}", quote(route.target), route.repository));
  return net::Response(204);
}

}  // namespace runnel::registry
